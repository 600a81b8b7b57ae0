/* expect: load/prompt */
/* Its constructor takes 2 s. */
#define ON_LOAD sleep(2)
#include "base.h"
