/* expect full: roundtrip/long-stream */
/* Wrong after 2^16 packets of a channel (16-bit counter in the state). */
#define ON_RECEIVED s->number++; if (s->number > 65536 && p->normal_num) p->host[p->normal[0]] ^= 1
#include "base.h"
