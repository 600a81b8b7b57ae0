/* expect: determinism/processes */
#define HEADER_SIZE 1
#define HEADER(out) *out++ = (uint8_t)getpid()
#define SKIP_HEADER do { if (in == end) ON_SHORT; in++; } while (0)
#include "base.h"
