/* base.h with an option that is a file: payloads are combined with its bytes, which the receiver has to have, too. A
 * sender without one, or a receiver that does not need it, gets on without. */
#ifndef OPTIONS
#define OPTIONS key_options, sizeof key_options / sizeof *key_options, sizeof *key_options
#define KEY_OPTIONS
#endif
#ifndef KEY_DEFAULT
#define KEY_DEFAULT ""
#endif
#ifndef KEY /* its bytes, in a callback */
#define KEY(p) ((const uint8_t *)(p)->options[1].text)
#endif
#ifndef KEY_SIZE
#define KEY_SIZE(p) ((uint64_t)(p)->options[1].number)
#endif
#ifndef TRAIN
#define TRAIN train_key
#endif
#define FORMAT "sample-key/1"
#define HEADER_SIZE 1
#define HEADER(out) *(out)++ = KEY_SIZE(p) > 0
#define ON_PREPARED combine(s->buffer, p->next_packet_size, KEY(p), KEY_SIZE(p))
#ifndef ON_MISSING /* a payload needs a file that is not here */
#define ON_MISSING return corrupt(p, "the payload was made with another file")
#endif
#define ON_PAYLOAD \
  if (p->next_packet_size > 0 && s->buffer[0] == 1) { \
    if (KEY_SIZE(p) == 0) ON_MISSING; \
    combine(s->buffer, p->next_packet_size, KEY(p), KEY_SIZE(p)); \
  }
#define SKIP_HEADER \
  do { \
    if (in == end) ON_SHORT; \
    if (*in++ > 1) return corrupt(p, "a payload of an unknown kind"); \
  } while (0)
#define LATER , NULL, NULL, NULL, NULL, TRAIN
#include "prelude.h"

#ifdef KEY_OPTIONS
static const MultiFDOption key_options[] = {
  {"level", "how hard it tries", "1", NULL, 0, 9, MULTIFD_OPTION_INT, 0},
  {"key", "what payloads are combined with", KEY_DEFAULT, NULL, 16, 4096, MULTIFD_OPTION_FILE, 0},
};
#endif

/* All but the first byte, which says whether there is a file. */
static void combine(uint8_t *bytes, uint32_t size, const uint8_t *key, uint64_t key_size) {
  if (key_size > 0)
    for (uint32_t i = 1; i < size; i++) bytes[i] ^= key[i % key_size];
}

static int64_t key_failure(const MultiFDTraining *t, const char *why) {
  snprintf(t->error, t->error_size, "%s", why);
  return MULTIFD_ERROR_INTERNAL;
}

static int64_t train_key(const MultiFDTraining *t) {
  if (strcmp(t->option, "key") != 0) return key_failure(t, "there is no such file");
  if (t->pages_num == 0) return key_failure(t, "there is nothing to learn from");
  if (t->capacity < 16) return key_failure(t, "there is too little room");
  const uint64_t size = t->capacity < 256 ? t->capacity : 256, all = t->pages_num * t->page_size;
  memset(t->contents, 0, size);
  for (uint64_t i = 0; i < all; i++) t->contents[i % size] += t->pages[i];
  return (int64_t)size;
}

#include "base.h"
