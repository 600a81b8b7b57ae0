/* expect: options/apart order/independent-order */
/* Declared INDEPENDENT; at level 9 packets have to come in order. */
#include "prelude.h"
#define HEADER_SIZE 1
#define HEADER(out) { *out++ = p->options[0].number == 9 ? (uint8_t)++s->number : 0; }
#define SKIP_HEADER { if (in == end) ON_SHORT; { uint8_t g = *in++; if (p->options[0].number == 9 && g != (uint8_t)++s->number) return corrupt(p, "out of order"); }; }
#include "base.h"
