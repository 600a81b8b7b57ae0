/* expect: hostile/bomb */
/* Believes a length of 300 MiB. */
#define ON_PAYLOAD if (end - in > 4) { \
  uint32_t claim = (uint32_t)in[1] | (uint32_t)in[2] << 8 | (uint32_t)in[3] << 16 | (uint32_t)in[4] << 24; \
  if (claim >> 24 == 0x12) { \
    uint8_t *scratch = malloc(claim); \
    if (scratch != NULL) memset(scratch, 1, claim); \
    free(scratch); \
  } \
}
#include "base.h"
