/* expect: abi/capabilities */
#define CAPS (MULTIFD_CAP_INDEPENDENT | 0x800)
#include "base.h"
