/* expect: hostile/time */
/* try: abi hostile/extremes hostile/noise hostile/bomb hostile/time roundtrip/basic */
/* Looks from the start again for every byte of a kind that it does not know. */
#include "prelude.h"
#define ON_PAYLOAD if (end > in && *in > 1) { volatile uint32_t sum = 0; \
  for (const uint8_t *at = in; at < end; at += 4) for (const uint8_t *from = in; from < at; from += 64) sum += *from; }
#include "base.h"
