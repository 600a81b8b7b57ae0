/* expect: lifecycle/at-exit resources/memory-channels resources/memory-failures */
/* Registers an exit handler that prints. */
#include "prelude.h"
static void bye(void) { fputs("codec: bye\n", stderr); }
#define ON_SETUP atexit(bye)
#include "base.h"
