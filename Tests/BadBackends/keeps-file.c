/* expect: bounds/pointers-kept */
/* try: abi options bounds roundtrip/basic lifecycle/setup-cleanup */
/* The first channel's file is every channel's. */
#include "prelude.h"
static const uint8_t *_Atomic first;
static _Atomic uint64_t first_size;
#define ON_SETUP if (first == NULL && p->options[1].number > 0) { \
  first_size = (uint64_t)p->options[1].number; \
  first = (const uint8_t *)p->options[1].text; \
}
#define KEY(p) ((p)->options[1].number > 0 ? first : NULL)
#define KEY_SIZE(p) ((p)->options[1].number > 0 ? first_size : 0)
#include "key.h"
