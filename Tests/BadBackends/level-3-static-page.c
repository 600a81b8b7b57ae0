/* expect full: isolation/concurrent */
/* may: isolation/first-packets */
/* From level 3 on all channels decode from one buffer. */
#include "prelude.h"
static uint8_t scratch[1 << 21];
#define ON_RECV if (p->options[0].number >= 3 && BUFFER_SIZE(p) <= sizeof scratch) { \
  if (s->extra == NULL) s->extra = s->buffer; \
  s->buffer = scratch; \
}
#define ON_CLEANUP if (s->extra != NULL) s->buffer = s->extra
#include "base.h"
