/* expect: load/opens */
#define ON_LOAD for (;;) pause()
#include "base.h"
