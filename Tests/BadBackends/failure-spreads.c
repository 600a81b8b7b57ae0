/* expect: isolation/failure */
/* A channel that has failed takes the others along. */
#include "prelude.h"
static _Atomic int broken;
#define ON_CORRUPT if (p->channels == 2 && p->id == 1) broken = 1
#define ON_RECV if (broken) { \
  p->services->error(p->channel, "broken"); \
  return MULTIFD_ERROR_CORRUPT; \
}
#include "base.h"
