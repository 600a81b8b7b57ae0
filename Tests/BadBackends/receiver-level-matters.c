/* expect: options/apart */
/* A receiver at level 9 decodes wrongly what another level has sent. */
#include "prelude.h"
#define HEADER_SIZE 1
#define HEADER(out) { *out++ = (uint8_t)p->options[0].number; }
#define SKIP_HEADER { if (in == end) ON_SHORT; if (*in++ != 9 && p->options[0].number == 9) return corrupt(p, "not of my level"); }
#include "base.h"
