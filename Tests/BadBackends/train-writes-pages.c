/* expect: options/trained */
/* try: abi options bounds roundtrip/basic lifecycle/setup-cleanup */
/* Works in the pages that it is to learn from. */
#define TRAIN train_writes_pages
#include "prelude.h"
static int64_t train_writes_pages(const MultiFDTraining *t);
#include "key.h"
static int64_t train_writes_pages(const MultiFDTraining *t) {
  if (t->pages_num > 0) *(uint8_t *)t->pages = 0;
  return train_key(t);
}
