/* expect: abi/callbacks */
#define MAX_IN_FLIGHT (MULTIFD_MAX_IN_FLIGHT + 1)
#include "flight.h"
