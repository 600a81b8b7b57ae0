/* expect: resources/peak */
/* try: abi resources/peak roundtrip/basic */
/* Takes 300 MiB when the first packet comes. */
#include "prelude.h"
#define ON_PREPARE if (s->extra == NULL && (s->extra = malloc(300 << 20)) == NULL) { \
  p->services->error(p->channel, "no room"); \
  return MULTIFD_ERROR_NO_MEMORY; \
}
#define ON_CLEANUP free(s->extra)
#include "base.h"
