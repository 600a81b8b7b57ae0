/* expect: abi/capabilities */
#define CAPS (MULTIFD_CAP_STATEFUL | MULTIFD_CAP_INDEPENDENT)
#include "base.h"
