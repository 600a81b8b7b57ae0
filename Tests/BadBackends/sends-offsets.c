/* expect: determinism/placement */
#define HEADER_SIZE 1
#define HEADER(out) *out++ = (uint8_t)(p->normal[0] >> 12)
#define SKIP_HEADER do { if (in == end) ON_SHORT; in++; } while (0)
#include "base.h"
