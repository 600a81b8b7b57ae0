/* expect: roundtrip/packet-numbers */
#define ON_RECV if (s->extra != NULL && p->packet_num > (uintptr_t)s->extra + 1) \
  return corrupt(p, "a packet is missing"); \
  s->extra = (void *)(uintptr_t)p->packet_num
#include "base.h"
