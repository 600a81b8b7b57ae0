/* expect: options/trained */
/* try: abi options bounds roundtrip/basic lifecycle/setup-cleanup */
/* Says that all of the room is the file, and has written to a part of it. */
#define TRAIN train_leaves_room
#include "prelude.h"
static int64_t train_leaves_room(const MultiFDTraining *t);
#include "key.h"
static int64_t train_leaves_room(const MultiFDTraining *t) {
  const int64_t size = train_key(t);
  return size > 0 ? (int64_t)t->capacity : size;
}
