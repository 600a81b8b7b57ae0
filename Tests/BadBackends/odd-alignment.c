/* expect: bounds/services */
#define ON_SETUP FREE(p, p->services->alloc(p->channel, 10, 3))
#include "base.h"
