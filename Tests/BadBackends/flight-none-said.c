/* expect: abi/callbacks */
#define MAX_IN_FLIGHT 0
#include "flight.h"
