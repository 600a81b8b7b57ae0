/* expect: lifecycle/system-calls */
/* Closes its descriptor a second time: meanwhile the number may be somebody else's. */
#include "prelude.h"
#define ON_SETUP s->extra = (void *)(intptr_t)open("/dev/null", O_RDONLY | O_CLOEXEC)
#define ON_CLEANUP if (s->extra != NULL) for (int k = 0; k < 2; k++) close((int)(intptr_t)s->extra)
#include "base.h"
