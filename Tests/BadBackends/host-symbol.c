/* expect: load/own-symbols */
/* From libm, which the host happens to have open; this library does not say that it needs it. */
#include "prelude.h"
double cos(double);
static volatile double angle = 1;
#define ON_SETUP s->extra = cos(angle) > 2 ? s : NULL
#include "base.h"
