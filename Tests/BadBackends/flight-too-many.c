/* expect: abi/callbacks */
/* try: abi flight bounds roundtrip/basic roundtrip/stream hostile/reason */
#define MAX_IN_FLIGHT (MULTIFD_MAX_IN_FLIGHT + 1)
#include "flight.h"
