/* expect: resources/threads resources/memory-channels */
#include "prelude.h"
static void *sleeper(void *x) {
  for (;;) pause();
  return x;
}
#define ON_SEND_SETUP pthread_t thread; pthread_create(&thread, NULL, sleeper, NULL)
#include "base.h"
