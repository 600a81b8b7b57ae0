/* expect: determinism/same-bytes */
/* Sends 4 bytes of memory from services->alloc that nobody has written (declared deterministic). */
#include "prelude.h"
#define HEADER_SIZE 4
#define ON_SETUP s->extra = ALLOC(p, 64); if (s->extra == NULL) NO_MEMORY
#define ON_CLEANUP FREE(p, s->extra)
#define HEADER(out) { memcpy(out, s->extra, 4); out += 4; }
#define SKIP_HEADER { if (end - in < 4) ON_SHORT; in += 4; }
#include "base.h"
