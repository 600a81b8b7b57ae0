/* expect: bounds/other-pages */
#define ON_RECEIVED for (uint32_t i = 0; i < p->zero_num; i++) if (p->host != NULL) memset(p->host + p->zero[i], 0, p->page_size)
#include "base.h"
