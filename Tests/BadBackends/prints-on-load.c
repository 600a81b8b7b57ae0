/* expect: load/quiet */
#define ON_LOAD puts("sample 1.0 ready")
#include "base.h"
