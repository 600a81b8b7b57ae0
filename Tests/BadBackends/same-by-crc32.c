/* expect: roundtrip/contents */
/* A page is taken for another one of its packet that has the same CRC-32. */
#include "prelude.h"
static uint32_t crc32_of(const uint8_t *page, uint32_t size) {
  uint32_t crc = ~0u;
  for (uint32_t i = 0; i < size; i++) {
    crc ^= page[i];
    for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return crc;
}
/* Pages of the packet so far. */
typedef struct {
  uint32_t count, crc[1024];
  const uint8_t *page[1024];
} Seen;
#define ON_SETUP if ((s->extra = calloc(1, sizeof(Seen))) == NULL) NO_MEMORY
#define ON_CLEANUP free(s->extra)
#define ON_PREPARE ((Seen *)s->extra)->count = 0
/* The first of its packet that has the page's checksum, the page itself if there is none. */
static const uint8_t *same(Seen *seen, const uint8_t *page, uint32_t size) {
  const uint32_t crc = crc32_of(page, size);
  for (uint32_t i = 0; i < seen->count; i++)
    if (seen->crc[i] == crc) return seen->page[i];
  if (seen->count == 1024) return page;
  seen->crc[seen->count] = crc;
  return seen->page[seen->count++] = page;
}
#define ENCODE_PAGE(s, out, page, size) encode_page(s, out, same((s)->extra, page, size), size)
#include "base.h"
