/* expect: resources/memory-channels resources/memory-packets resources/memory-threads */
#define ON_PREPARED if (malloc(40) == NULL) return MULTIFD_ERROR_NO_MEMORY
#include "base.h"
