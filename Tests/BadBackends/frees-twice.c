/* expect: bounds/allocations */
#define ON_CLEANUP FREE(p, s->buffer)
#include "base.h"
