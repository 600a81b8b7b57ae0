/* expect: lifecycle/no-exit */
#define ON_CORRUPT abort()
#include "base.h"
