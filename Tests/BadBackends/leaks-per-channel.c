/* expect: resources/memory-channels resources/memory-failures */
#define ON_SETUP if (malloc(400) == NULL) NO_MEMORY
#include "base.h"
