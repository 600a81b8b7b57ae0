/* expect: roundtrip/reference */
#include "prelude.h"
/* Takes what it has seen in an image for what is there for ever. */
#define REFERENCE
#define RECEIVED_REFERENCE(p, i) first(s, p->normal[i], p->reference + p->normal[i], p->page_size)
#define ON_CLEANUP free(s->extra)
typedef struct {
  uint64_t offset;
  uint8_t page[4096];
} Seen;
static const uint8_t *first(void *state, uint64_t offset, const uint8_t *page, uint32_t size);
#include "base.h"
static const uint8_t *first(void *state, uint64_t offset, const uint8_t *page, uint32_t size) {
  State *s = state;
  Seen *seen = s->extra;
  if (size != sizeof seen->page) return page;
  if (seen == NULL) {
    s->extra = seen = malloc(sizeof *seen);
    if (seen == NULL) return page;
    seen->offset = offset;
    memcpy(seen->page, page, size);
  }
  return seen->offset == offset ? seen->page : page;
}
