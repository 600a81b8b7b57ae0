/* expect: nothing */
/* Good, and has a device that it writes to, as an accelerator's backend has. */
#include "prelude.h"
#define ON_SETUP s->extra = (void *)(intptr_t)open("/dev/null", O_RDWR | O_CLOEXEC)
#define ON_CLEANUP if (s->extra != NULL) close((int)(intptr_t)s->extra)
#include "base.h"
