/* expect: bounds/lists-read-only */
#define ON_PREPARE if (p->normal_num > 1) ((uint64_t *)p->normal)[0] = p->normal[0]
#include "base.h"
