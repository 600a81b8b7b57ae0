/* expect: hostile/status */
#define CORRUPT_STATUS 1
#include "base.h"
