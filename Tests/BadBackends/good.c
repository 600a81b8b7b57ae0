/* expect: nothing */
/* As good as can be. */
#include "base.h"
