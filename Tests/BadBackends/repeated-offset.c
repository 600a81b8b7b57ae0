/* expect: hostile/repeated-offset */
#define ON_RECV if (p->normal_num > 2 && p->normal[0] == p->normal[1] && p->normal[1] == p->normal[2]) __builtin_trap()
#include "base.h"
