/* expect: fuzz/encode */
/* Loses a byte in packets of certain sizes. */
#define ON_RECEIVED if (p->page_count % 16 == 11 && p->normal_num > 3) p->host[p->normal[3] + 7] ^= 1
#include "base.h"
