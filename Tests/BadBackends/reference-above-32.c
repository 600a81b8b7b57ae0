/* expect: roundtrip/reference */
/* The images of the 33rd page of a packet and those behind it are those of the first ones. */
#include "prelude.h"
#define REFERENCE
#define RECEIVED_REFERENCE(p, i) ((p)->reference + (p)->normal[(i) & 31])
#include "base.h"
