/* expect: bounds/allocations */
#define ON_SEND_SETUP void *scratch = ALLOC(p, 100); if (scratch == NULL) NO_MEMORY; FREE(p, scratch); *(uint8_t *)scratch = 0
#include "base.h"
