/* expect: resources/memory-packets */
/* Loses what it takes for a packet of more than 100 pages. */
#define ON_PREPARED if (p->normal_num > 100 && malloc(64) == NULL) return MULTIFD_ERROR_NO_MEMORY
#include "base.h"
