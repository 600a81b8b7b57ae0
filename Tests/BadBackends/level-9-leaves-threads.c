/* expect full: resources/threads resources/memory-channels */
/* A thread goes on after cleanup, at level 9. */
#include "prelude.h"
static void *sleeper(void *x) {
  for (;;) pause();
  return x;
}
#define ON_SEND_SETUP pthread_t thread; if (p->options[0].number == 9) pthread_create(&thread, NULL, sleeper, NULL)
#include "base.h"
