/* expect: faults/read-fails */
#define ON_READ_FAILURE return MULTIFD_OK
#include "base.h"
