/* expect: abi/qemu-bound */
#define FORMAT "qpl/1"
#define QEMU_METHOD MULTIFD_QEMU_METHOD_QPL
#define BOUND(size, count) ((count) == 0 ? 0 : (uint64_t)(count) * ((uint64_t)(size) * 3))
#include "base.h"
