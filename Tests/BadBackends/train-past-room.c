/* expect: options/trained */
/* try: abi options bounds roundtrip/basic lifecycle/setup-cleanup */
/* One byte behind the room for the file. */
#define TRAIN train_past_room
#include "prelude.h"
static int64_t train_past_room(const MultiFDTraining *t);
#include "key.h"
static int64_t train_past_room(const MultiFDTraining *t) {
  t->contents[t->capacity] = 0;
  return train_key(t);
}
