/* expect: resources/memory-packets */
#define ON_PREPARED if (malloc(40) == NULL) return MULTIFD_ERROR_NO_MEMORY
#include "base.h"
