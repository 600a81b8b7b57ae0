/* expect: roundtrip/basic */
#define ON_RECEIVED if (p->normal_num > 2) p->host[p->normal[1] + 17] ^= 1
#include "base.h"
