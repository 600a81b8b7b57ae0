/* expect: abi/callbacks */
#define RECV_CLEANUP NULL
#include "base.h"
