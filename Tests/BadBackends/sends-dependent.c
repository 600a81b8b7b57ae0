/* expect: order/sends-independent */
/* Says that what it sends decodes without the packets between, and counts them. */
#define STATEFUL
#define CAPS (MULTIFD_CAP_STATEFUL | MULTIFD_CAP_DETERMINISTIC | MULTIFD_CAP_SENDS_INDEPENDENT)
#include "base.h"
