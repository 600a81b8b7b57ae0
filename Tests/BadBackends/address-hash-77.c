/* expect: determinism/same-bytes */
/* Only in packets of 77 pages the address of a buffer is in the payload. */
#include "prelude.h"
#define HEADER_SIZE 1
#define HEADER(out) { *out++ = p->normal_num == 77 ? (uint8_t)((uintptr_t)s->buffer >> 20) : 0; }
#define SKIP_HEADER { if (in == end) ON_SHORT; in++; }
#include "base.h"
