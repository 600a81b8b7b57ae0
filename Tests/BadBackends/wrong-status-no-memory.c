/* expect: lifecycle/failed-setup faults/address-space */
#define NO_MEMORY do { p->services->error(p->channel, "no"); return MULTIFD_ERROR_INTERNAL; } while (0)
#include "base.h"
