/* expect: bounds/write-past-page */
/* By one byte, where that byte is nobody's: behind pages whose neighbour is off limits in most of the harness's
 * blocks. A neighbour that is in the packet is left alone, since a byte there is wrong data, another rule's. */
#define ON_RECEIVED for (uint32_t i = 0; i < p->normal_num; i++) { \
  const uint64_t behind = p->normal[i] + p->page_size; \
  int is_sent = 0; \
  for (uint32_t j = 0; j < p->normal_num; j++) is_sent |= p->normal[j] == behind; \
  if (p->normal[i] / p->page_size % 9 == 2 && !is_sent) p->host[behind] = 0; \
}
#include "base.h"
