/* expect: abi/major */
/* A backend of the next major, which does not look at host_major. */
#define MAJOR (MULTIFD_ABI_MAJOR + 1)
#include "base.h"
