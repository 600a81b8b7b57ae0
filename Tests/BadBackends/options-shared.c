/* expect: isolation/options options/apart */
/* The level of the channel that was set up last is everybody's. */
#include "prelude.h"
static _Atomic int64_t level;
#define ON_SETUP level = p->options[0].number
#define ON_PREPARE if (level != p->options[0].number) { \
  p->services->error(p->channel, "the level has changed"); \
  return MULTIFD_ERROR_INTERNAL; \
}
#include "base.h"
