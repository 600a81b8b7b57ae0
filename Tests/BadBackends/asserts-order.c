/* expect: order/stateful-disorder hostile/replay hostile/loss hostile/wrong-channel */
/* Takes a packet out of order for impossible. */
#define STATEFUL
#define ON_PAYLOAD if (p->normal_num > 0 && in < end && *in != (uint8_t)s->number && *in < 8) __builtin_trap()
#include "base.h"
