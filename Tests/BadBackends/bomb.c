/* expect: hostile/bomb */
/* Believes a length of 300 MiB. */
#include "prelude.h"
static volatile uint8_t sink;
#define ON_PAYLOAD if (end - in > 4) { \
  const uint32_t claim = \
    (uint32_t)in[1] | (uint32_t)in[2] << 8 | (uint32_t)in[3] << 16 | (uint32_t)in[4] << 24; \
  if (claim == 300u << 20) { \
    uint8_t *scratch = malloc(claim); \
    if (scratch != NULL) sink = ((uint8_t *)memset(scratch, 1, claim))[claim / 2]; \
    free(scratch); \
  } \
}
#include "base.h"
