/* expect: options/apart roundtrip/changing-pages */
/* At level 9 raw pages carry a sum of the first reading and the bytes of a second. */
#include "prelude.h"
#define HEADER_SIZE 1
#define HEADER(out) { { uint8_t x = 0; if (p->options[0].number == 9) { for (uint32_t i = 0; i < p->normal_num; i++) for (uint32_t k = 0; k < p->page_size; k++) x ^= p->host[p->normal[i] + k]; } *out++ = x; }; }
#define SKIP_HEADER { if (in == end) ON_SHORT; in++; }
#define ON_RECEIVED if (p->options[0].number == 9 && p->normal_num) { uint8_t x = 0; for (uint32_t i = 0; i < p->normal_num; i++) for (uint32_t k = 0; k < p->page_size; k++) x ^= p->host[p->normal[i] + k]; if (x != s->buffer[0]) return corrupt(p, "wrong sum"); }
#include "base.h"
