/* expect: roundtrip/contents bounds/payload-bound */
/* Pages of ones make it stumble. */
#define ON_PREPARE if (p->normal_num > 0) { \
  const uint8_t *page = p->host + p->normal[0]; \
  uint32_t at = 0; \
  while (at < p->page_size && page[at] == 0xff) at++; \
  if (at == p->page_size) __builtin_trap(); \
}
#include "base.h"
