/* expect: lifecycle/after-error */
/* Asks for order in a packet that has failed: the host does nothing but clean up. */
#define ON_CORRUPT ((State *)p->compress_data)->extra = p
#define ON_CLEANUP if (s->extra != NULL) __builtin_trap()
#include "base.h"
