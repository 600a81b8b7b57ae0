/* expect: load/other-major */
#define ON_ENTRY
#include "base.h"
