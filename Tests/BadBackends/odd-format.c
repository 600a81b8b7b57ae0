/* expect: abi/texts */
#define FORMAT "sample-1"
#include "base.h"
