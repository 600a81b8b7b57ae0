/* expect: abi/callbacks */
/* Says that it only encodes, and has the callbacks of the other direction. */
#define CAPS (MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC | MULTIFD_CAP_SEND_ONLY)
#include "base.h"
