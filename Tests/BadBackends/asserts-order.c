/* expect: order/stateful-disorder hostile/replay hostile/loss hostile/wrong-channel */
/* Takes a packet out of order for impossible. */
#define CAPS (MULTIFD_CAP_STATEFUL | MULTIFD_CAP_DETERMINISTIC)
#define HEADER_SIZE 2
#define HEADER(out) do { *out++ = (uint8_t)s->number; *out++ = (uint8_t)s->number++ ^ 0xa5; } while (0)
#define SKIP_HEADER do { \
  if (end - in < 2) ON_SHORT; \
  if ((in[0] ^ in[1]) != 0xa5) return corrupt(p, "no number"); \
  if (in[0] != (uint8_t)s->number++) __builtin_trap(); \
  in += 2; \
} while (0)
#include "base.h"
