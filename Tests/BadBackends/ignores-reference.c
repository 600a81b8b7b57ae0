/* expect: roundtrip/reference */
/* The receiver leaves the reference out. */
#define REFERENCE
#define RECEIVED_REFERENCE(p, i) nothing
#include "prelude.h"
static const uint8_t nothing[1 << 21];
#include "base.h"
