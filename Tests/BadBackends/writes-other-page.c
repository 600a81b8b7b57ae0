/* expect: bounds/other-pages */
#define ON_RECEIVED if (p->normal_num == 2 && p->normal[0] == 0 && p->normal[1] == p->page_size) \
  p->host[2 * p->page_size + 5] = 0
#include "base.h"
