/* expect: bounds/source-read-only */
#define ON_PREPARE if (p->normal_num > 0) { \
  volatile uint8_t *page = (volatile uint8_t *)p->host + p->normal[0]; \
  *page = *page; \
}
#include "base.h"
