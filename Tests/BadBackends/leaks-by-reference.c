/* expect: resources/memory-packets */
/* Loses what it takes for a packet that has a reference. */
#include "prelude.h"
#define REFERENCE
#define ON_PREPARED if (p->reference != NULL && malloc(64) == NULL) return MULTIFD_ERROR_NO_MEMORY
#include "base.h"
