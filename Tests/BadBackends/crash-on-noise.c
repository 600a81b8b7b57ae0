/* expect: hostile/noise */
#define ON_PAYLOAD if (p->next_packet_size == 37 && in[0] > 1) __builtin_trap()
#include "base.h"
