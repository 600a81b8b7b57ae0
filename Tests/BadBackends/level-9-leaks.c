/* expect full: resources/memory-channels */
/* Loses some memory in each setup at level 9. */
#define ON_SETUP if (p->options[0].number == 9 && malloc(400) == NULL) NO_MEMORY
#include "base.h"
