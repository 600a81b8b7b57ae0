/* expect: hostile/truncated */
#define ON_SHORT if (p->next_packet_size == 7) for (;;) pause(); return corrupt(p, "the payload ends too early")
#include "base.h"
