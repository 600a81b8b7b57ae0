/* expect: determinism/processes */
/* A hash of the host name is in the payload, and another one is refused: works only to itself. */
#include "prelude.h"
#define HEADER_SIZE 1
static uint8_t h(void) { char b[64] = ""; gethostname(b, 63); uint8_t x = 0; for (char *c = b; *c; c++) x = x * 31 + *c; return x; }
#define HEADER(out) { *out++ = h(); }
#define SKIP_HEADER { if (in == end) ON_SHORT; if (*in++ != h()) return corrupt(p, "from another host"); }
#include "base.h"
