/* expect: roundtrip/empty */
#define ON_PREPARED if (p->normal_num == 0) { \
  p->iovs_num = 1; p->iov[0].iov_base = s->buffer; p->iov[0].iov_len = p->next_packet_size = 1; \
}
#include "base.h"
