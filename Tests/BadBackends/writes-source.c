/* expect: bounds/source-read-only */
#define ON_PREPARE if (p->normal_num > 0) ((uint8_t *)p->host)[p->normal[0]] ^= 0
#include "base.h"
