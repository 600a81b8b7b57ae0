/* expect: bounds/iov-memory */
#define ON_PREPARED if (p->normal_num > 0) p->iov[0].iov_base = NULL
#include "base.h"
