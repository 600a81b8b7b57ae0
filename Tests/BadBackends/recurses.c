/* expect: bounds/stack */
/* try: abi bounds hostile/extremes hostile/noise hostile/bomb roundtrip/basic */
/* Calls itself for every byte of padding in front of a page, of which an honest peer sends none. */
#include "prelude.h"
static __attribute__((noinline)) const uint8_t *behind_padding(const uint8_t *in, const uint8_t *end) {
  volatile uint8_t depth = 1;
  if (in == end || *in != 7) return in;
  in = behind_padding(in + 1, end);
  return in + (depth - 1);
}
#define ON_PAYLOAD if (end - in > 200000) in = behind_padding(in, end)
#include "base.h"
