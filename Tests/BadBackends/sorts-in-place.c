/* expect: bounds/lists-read-only */
#define ON_PREPARE if (p->normal_num > 1) { \
  volatile uint64_t *list = (volatile uint64_t *)p->normal; \
  const uint64_t first = list[0]; \
  list[0] = first; \
}
#include "base.h"
