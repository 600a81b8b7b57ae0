/* expect: abi/qemu-method */
/* A format of its own, and no word of QEMU's method: 0 is that of pages as they are. */
#define QEMU_METHOD 0
#include "base.h"
