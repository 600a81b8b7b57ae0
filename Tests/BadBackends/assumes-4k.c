/* expect: roundtrip/page-sizes */
#define ON_RECEIVED if (p->page_size > 4096 && p->normal_num > 0) memset(p->host + p->normal[0] + 4096, 0, 4096)
#include "base.h"
