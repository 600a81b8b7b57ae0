/* expect: resources/services-memory */
#define ON_SEND_SETUP if (ALLOC(p, 10) == NULL) NO_MEMORY
#include "base.h"
