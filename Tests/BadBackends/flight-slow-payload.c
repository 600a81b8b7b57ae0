/* expect: hostile/time */
/* try: abi flight hostile/extremes hostile/time roundtrip/basic */
/* A payload of one unknown kind costs a thread of its own 0.3 s. */
#include "prelude.h"
#include <time.h>
#define ON_PAYLOAD if (end > in && in[0] == 0xee) { clock_t c = clock(); while (clock() - c < CLOCKS_PER_SEC * 3 / 10) {} }
#include "flight.h"
