/* expect: bounds/iov-guest bounds/iov-sum */
#define ON_PREPARED if (p->normal_num > 0 && s->buffer[0] == 0) { \
  p->iovs_num = 3; p->iov[0].iov_len = 1; \
  p->iov[1].iov_base = (void *)(p->host + p->normal[0]); p->iov[1].iov_len = p->page_size; \
  p->iov[2].iov_base = s->buffer + 1 + p->page_size; p->iov[2].iov_len = p->next_packet_size - 1 - p->page_size; \
}
#include "base.h"
