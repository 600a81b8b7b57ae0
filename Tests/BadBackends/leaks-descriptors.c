/* expect: resources/descriptors */
#define ON_SETUP (void)open("/dev/null", O_RDONLY)
#include "base.h"
