/* expect: determinism/same-bytes determinism/placement isolation/interleaved */
#define HEADER_SIZE 1
#define HEADER(out) *out++ = (uint8_t)s->setups
#define SKIP_HEADER do { if (in == end) ON_SHORT; in++; } while (0)
#include "base.h"
