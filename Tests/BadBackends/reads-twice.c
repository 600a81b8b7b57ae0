/* expect: roundtrip/changing-pages */
/* Looks at a page twice: once for what it holds, once to send that. */
#include "prelude.h"
struct State;
static uint8_t *encode_twice(void *s, uint8_t *out, const uint8_t *page, uint32_t size);
#define ENCODE_PAGE encode_twice
#include "base.h"
static uint8_t *encode_twice(void *state, uint8_t *out, const uint8_t *page, uint32_t size) {
  State *s = state;
  memcpy(s->page, page, size);
  uint8_t *start = encode_page(s, out, s->page, size);
  for (int i = 0; i < 20; i++) sched_yield();
  /* Runs as they were, values as they are now. */
  if (*out == 0) return start;
  uint32_t at = 0;
  for (uint8_t *piece = out + 1; piece < start; piece += 2) {
    piece[1] = ((const volatile uint8_t *)page)[at];
    at += piece[0] + 1u;
  }
  return start;
}
