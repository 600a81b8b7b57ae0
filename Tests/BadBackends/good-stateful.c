/* expect: nothing */
/* Good, with packets that have to come in order. */
#define STATEFUL
#include "base.h"
