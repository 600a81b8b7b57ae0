/* expect: hostile/truncated */
#define ON_SHORT do { \
  if (p->next_packet_size == 7) for (;;) pause(); \
  return corrupt(p, "the payload ends too early"); \
} while (0)
#include "base.h"
