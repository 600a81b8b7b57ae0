/* expect: bounds/iov-memory */
/* Gives the payload back before the host has seen it. */
#define ON_PREPARED FREE(p, s->buffer); s->buffer = NULL; (void)0
#define ON_PREPARE if (s->buffer == NULL) s->buffer = ALLOC(p, BUFFER_SIZE(p))
#include "base.h"
