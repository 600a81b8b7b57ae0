/* expect: load/opens */
#define ON_LOAD *(volatile int *)0 = 1
#include "base.h"
