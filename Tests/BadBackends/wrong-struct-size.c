/* expect: abi/struct-size */
#define STRUCT_SIZE 64
#include "base.h"
