/* expect: lifecycle/no-exit */
#define ON_CORRUPT exit(1)
#include "base.h"
