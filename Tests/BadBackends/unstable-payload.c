/* expect: bounds/iov-stable */
/* The receive side scribbles over what the send side has handed out. */
#include "prelude.h"
static __thread uint8_t *last;
#define ON_PREPARED if (p->normal_num > 0) last = s->buffer
#define ON_RECEIVED if (last != NULL) last[0] ^= 1; last = NULL
#define ON_CLEANUP last = NULL
#include "base.h"
