/* expect: hostile/truncated hostile/page-count hostile/stale-memory */
#define ON_SHORT return MULTIFD_OK
#include "base.h"
