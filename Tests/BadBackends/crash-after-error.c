/* expect: lifecycle/after-error */
#include "prelude.h"
/* Once the receive side of a channel has failed, its send side is not usable either. */
static __thread int failed;
#define ON_SETUP failed = 0
#define ON_CORRUPT if (p->channels == 1) failed = 1
#define ON_PREPARE if (failed && p->channels == 1 && p->page_count == 8) __builtin_trap()
#include "base.h"
