/* expect: roundtrip/empty */
/* Sends no byte for a packet whose pages are those of the packet before. */
#include "prelude.h"
#define CAPS (MULTIFD_CAP_STATEFUL | MULTIFD_CAP_DETERMINISTIC)
#define ON_SETUP s->extra = calloc(1, sizeof(Last) + (size_t)BUFFER_SIZE(p)); if (s->extra == NULL) NO_MEMORY
#define ON_CLEANUP free(s->extra)
typedef struct {
  size_t size;
  unsigned char bytes[];
} Last;
#define ON_PREPARED if (p->normal_num > 0) { \
  Last *last = s->extra; \
  if (p->next_packet_size == last->size && memcmp(last->bytes, s->buffer, last->size) == 0) { \
    p->iovs_num = p->next_packet_size = 0; \
  } else { \
    last->size = p->next_packet_size; \
    memcpy(last->bytes, s->buffer, last->size); \
  } }
#define ON_PAYLOAD if (p->normal_num > 0) { \
  Last *last = s->extra; \
  if (in == end) { \
    in = last->bytes; \
    end = in + last->size; \
  } else { \
    last->size = (size_t)(end - in); \
    memcpy(last->bytes, in, last->size); \
  } }
#include "base.h"
