/* expect: faults/allocation */
#define ON_RECV uint8_t *scratch = ALLOC(p, 64); scratch[0] = 0; FREE(p, scratch)
#include "base.h"
