/* expect: hostile/noise */
#define ON_PAYLOAD if (p->next_packet_size == 33) __builtin_trap()
#include "base.h"
