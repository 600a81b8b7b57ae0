/* expect: isolation/interleaved isolation/concurrent */
#include "prelude.h"
/* What one channel has sent decides what the next one sends. */
static _Atomic uint32_t last = UINT32_MAX;
#define ON_PREPARED if (p->normal_num > 0 && p->channels == 4) { \
  const uint32_t before = atomic_exchange(&last, p->id); \
  if (before != UINT32_MAX && before != p->id) s->buffer[0] ^= 1; \
}
#include "base.h"
