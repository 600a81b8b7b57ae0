/* expect: roundtrip/stream */
/* Gets it wrong after many packets. */
#define ON_RECEIVED if (++s->number == 140 && p->page_count == 128 && p->normal_num > 0) p->host[p->normal[0] + 1] ^= 1
#include "base.h"
