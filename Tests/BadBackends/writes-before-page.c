/* expect: bounds/write-before-page */
#define ON_RECEIVED for (uint32_t i = 0; i < p->normal_num; i++) if (p->normal[i] == 0) p->host[-1] = 0
#include "base.h"
