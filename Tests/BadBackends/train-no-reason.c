/* expect: options/trained */
/* try: abi options bounds roundtrip/basic lifecycle/setup-cleanup */
/* Fails without a word. */
#define TRAIN train_no_reason
#include "prelude.h"
static int64_t train_no_reason(const MultiFDTraining *t);
#include "key.h"
static int64_t train_no_reason(const MultiFDTraining *t) {
  MultiFDTraining silent = *t;
  char text[64];
  silent.error = text;
  silent.error_size = sizeof text;
  return train_key(&silent);
}
