/* expect: abi/any-place */
/* Expects params to be aligned to 64 bytes. */
#define ON_PREPARE if (((uintptr_t)p & 63)) __builtin_trap()
#include "base.h"
