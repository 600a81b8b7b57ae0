/* expect: load/opens */
#define ON_LOAD _exit(0)
#include "base.h"
