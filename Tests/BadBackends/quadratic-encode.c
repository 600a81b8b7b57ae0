/* expect: resources/processor-time */
/* Encoder needs n^2 on pages with one long run. */
#include "prelude.h"
static volatile unsigned sinkv;
#define ON_PREPARE for (uint32_t i = 0; i < p->normal_num; i++) { const uint8_t *q = p->host + p->normal[i]; if (q[0] == q[1] && q[1] == q[777] && q[777] == q[2000] && q[0] == 0xff) for (uint32_t k = 0; k < 1024; k++) for (uint32_t j = 0; j < 4096; j++) sinkv += j; }
#include "base.h"
