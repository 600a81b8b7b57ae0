/* expect: hostile/truncated hostile/page-count */
#define ON_SHORT return MULTIFD_OK
#include "base.h"
