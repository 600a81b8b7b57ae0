/* expect: roundtrip/contents */
/* Pages of ones make it stumble. */
#define ON_PREPARE for (uint32_t i = 0; i < p->normal_num && i < 1; i++) { \
  const uint8_t *page = p->host + p->normal[i]; \
  uint32_t at = 0; while (at < p->page_size && page[at] == 0xff) at++; \
  if (at == p->page_size) __builtin_trap(); \
}
#include "base.h"
