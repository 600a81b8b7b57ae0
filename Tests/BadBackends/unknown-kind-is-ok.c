/* expect: hostile/stale-memory */
/* A page of kind 2 is skipped: OK, but the page was never written. */
#define ENCODED 1
#define ON_PAYLOAD if (end - in == (long)p->normal_num && p->normal_num && in[0] == 2) return MULTIFD_OK
#include "base.h"
