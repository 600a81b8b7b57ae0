/* expect: abi/qemu-method */
#define QEMU_METHOD 3u
#include "base.h"
