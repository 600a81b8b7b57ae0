/* expect: roundtrip/changing-pages */
/* Looks twice at a page that has a reference: once for where they differ, once for how. */
#include "prelude.h"
#define REFERENCE
static uint8_t *encode_twice(void *s, uint8_t *out, const uint8_t *page, uint32_t size);
#define ENCODE_PAGE encode_twice
#include "base.h"
static uint8_t *encode_twice(void *state, uint8_t *out, const uint8_t *page, uint32_t size) {
  State *s = state;
  uint8_t *start = encode_page(s, out, page, size);
  if (s->reference == NULL || *out == 2) return start;
  for (int i = 0; i < 20; i++) sched_yield();
  /* Runs as they were, values as they are now. */
  uint32_t at = 0;
  for (uint8_t *piece = out + 1; piece < start; piece += 2) {
    piece[1] = ((const volatile uint8_t *)page)[at] ^ s->reference[at];
    at += piece[0] + 1u;
  }
  return start;
}
