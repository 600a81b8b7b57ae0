/* expect: hostile/time */
/* A payload of one unknown kind (0xEE) costs 0.3 s of processor time before it is refused. */
#include "prelude.h"
#include <time.h>
#define ON_PAYLOAD if (end > in && in[0] == 0xee) { clock_t c = clock(); while (clock() - c < CLOCKS_PER_SEC * 3 / 10) {} }
#include "base.h"
