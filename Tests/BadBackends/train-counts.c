/* expect: options/trained */
/* try: abi options bounds roundtrip/basic lifecycle/setup-cleanup */
/* Another file of the same pages each time. */
#define TRAIN train_counts
#include "prelude.h"
static int64_t train_counts(const MultiFDTraining *t);
#include "key.h"
static int64_t train_counts(const MultiFDTraining *t) {
  static _Atomic uint8_t count;
  const int64_t size = train_key(t);
  if (size > 0) t->contents[0] = count++;
  return size;
}
