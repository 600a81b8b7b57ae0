/* expect: abi/callbacks */
/* try: abi flight bounds roundtrip/basic roundtrip/stream hostile/reason */
#define MAX_IN_FLIGHT 0
#include "flight.h"
