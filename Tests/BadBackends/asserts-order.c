/* expect: order/stateful-disorder hostile/replay hostile/loss hostile/wrong-channel */
/* Takes a packet out of order for impossible. */
#define CAPS (MULTIFD_CAP_STATEFUL | MULTIFD_CAP_DETERMINISTIC)
#define HEADER_SIZE 3
#define HEADER(out) do { \
  const uint8_t number = (uint8_t)s->number++; \
  *out++ = number; \
  *out++ = (uint8_t)(number * 7 + 13); \
  *out++ = number ^ 0x5a; \
} while (0)
#define SKIP_HEADER do { \
  if (end - in < 3) ON_SHORT; \
  if (in[1] != (uint8_t)(in[0] * 7 + 13) || in[2] != (in[0] ^ 0x5a)) return corrupt(p, "no number"); \
  if (in[0] != (uint8_t)s->number++) __builtin_trap(); \
  in += 3; \
} while (0)
#include "base.h"
