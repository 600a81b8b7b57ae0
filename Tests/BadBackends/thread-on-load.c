/* expect: load/starts-nothing */
#include "prelude.h"
static void *sleeper(void *x) { for (;;) pause(); return x; }
#define ON_LOAD pthread_t thread; pthread_create(&thread, NULL, sleeper, NULL)
#include "base.h"
