/* expect: abi/callbacks */
/* Says that packets may be in flight, and has nothing to submit them. */
#define IN_FLIGHT 4
#include "base.h"
