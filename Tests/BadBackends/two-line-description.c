/* expect: abi/texts */
#define DESCRIPTION "runs of bytes\nand more"
#include "base.h"
