/* expect: hostile/surplus hostile/page-count */
#define ON_LONG (void)0
#include "base.h"
