/* expect: roundtrip/packet-sizes */
#define ON_RECEIVED if (p->normal_num > 128) memset(p->host + p->normal[128], 0, 64)
#include "base.h"
