/* expect: bounds/write-past-page */
/* By one byte, behind pages whose neighbour is out of bounds in the harness's blocks. */
#define ON_RECEIVED for (uint32_t i = 0; i < p->normal_num; i++) { \
  if (p->normal[i] / p->page_size % 9 == 2) p->host[p->normal[i] + p->page_size] = 0; \
}
#include "base.h"
