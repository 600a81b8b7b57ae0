/* expect: roundtrip/empty */
#define ON_PREPARE if (p->normal_num == 0) *(volatile int *)0 = 1
#include "base.h"
