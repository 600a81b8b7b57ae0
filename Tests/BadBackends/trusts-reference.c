/* expect: hostile/reference */
/* Believes a short payload that there is a reference: an honest one without is longer, so nothing else shows it. */
#define REFERENCE
#define ON_NO_REFERENCE \
  if (p->next_packet_size > 1024) return corrupt(p, "there is no reference")
#include "base.h"
