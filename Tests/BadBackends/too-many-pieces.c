/* expect: bounds/iov-count */
#define ON_PREPARED if (p->normal_num > 0) { \
  uint32_t n = p->next_packet_size < p->iovs_max + 1 ? 0 : p->iovs_max + 1; \
  for (uint32_t i = 0; i < n; i++) { p->iov[i].iov_base = s->buffer + i; p->iov[i].iov_len = 1; } \
}
#include "base.h"
