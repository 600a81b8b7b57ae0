/* expect: faults/read-fails faults/connection-lost */
#define ON_READ_FAILURE return MULTIFD_ERROR_CORRUPT
#include "base.h"
