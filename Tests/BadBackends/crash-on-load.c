/* expect: load/opens */
#include "prelude.h"
static int *volatile nowhere;
#define ON_LOAD *nowhere = 1
#include "base.h"
