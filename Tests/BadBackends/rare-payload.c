/* expect: fuzz/decode */
/* Stumbles over something that no encoder makes and that is no extreme: equal runs in a row, the first one short. */
#define ON_PAYLOAD if (end - in > 12 && in[0] == 1 && in[1] > 0x10 && in[1] < 0x1f && in[2] == in[4] \
                       && in[4] == in[6]) __builtin_trap()
#include "base.h"
