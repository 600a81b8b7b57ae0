/* expect: order/independent-order order/independent-channel */
/* Says that packets are independent, and counts them. */
#define STATEFUL
#define CAPS (MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC)
#include "base.h"
