/* expect: options/trained */
/* try: abi options bounds roundtrip/basic lifecycle/setup-cleanup */
/* Leaves a descriptor open. */
#define TRAIN train_leaves_file
#include "prelude.h"
static int64_t train_leaves_file(const MultiFDTraining *t);
#include "key.h"
static int64_t train_leaves_file(const MultiFDTraining *t) {
  static _Atomic int descriptor;
  descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
  return train_key(t);
}
