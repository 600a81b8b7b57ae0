/* expect: bounds/write-past-page */
#define ON_RECEIVED for (uint32_t i = 0; i < p->normal_num; i++) p->host[p->normal[i] + p->page_size] = 0
#include "base.h"
