/* expect: abi/reserved */
#define IN_FLIGHT 4
#include "base.h"
