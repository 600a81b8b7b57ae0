/* expect: lifecycle/failed-setup faults/address-space */
#define NO_MEMORY (void)0
#include "base.h"
