/* expect: roundtrip/every-count roundtrip/packet-sizes */
#define ON_RECEIVED if (p->normal_num == 127) p->host[p->normal[126]] ^= 1
#include "base.h"
