/* expect: abi/qemu-method */
/* Has the name of QEMU's format, and says that QEMU does not know it. */
#define FORMAT "uadk/1"
#include "base.h"
