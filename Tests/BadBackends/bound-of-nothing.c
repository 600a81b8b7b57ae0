/* expect: abi/bound */
#define BOUND(size, count) ((uint64_t)(count) * ((uint64_t)(size) + 1) + 16)
#include "base.h"
