/* expect: hostile/status */
#define CORRUPT_STATUS MULTIFD_ERROR_INTERNAL
#include "base.h"
