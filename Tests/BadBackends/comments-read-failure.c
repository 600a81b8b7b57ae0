/* expect: faults/read-fails hostile/reason */
#define ON_READ_FAILURE do { p->services->error(p->channel, "read failed"); return status; } while (0)
#include "base.h"
