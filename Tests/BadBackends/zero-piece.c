/* expect: bounds/iov-sum */
/* Iov entries of length 0 around the payload. */
#define ON_PREPARED if (p->normal_num) { p->iov[1] = p->iov[0]; p->iov[0].iov_base = s->page; p->iov[0].iov_len = 0; p->iovs_num = 2; }
#include "base.h"
