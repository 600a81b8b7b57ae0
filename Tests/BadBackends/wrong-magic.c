/* expect: abi/magic */
#define MAGIC 0x12345678
#include "base.h"
