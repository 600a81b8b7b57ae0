/* expect: options/ends options/combinations isolation/options */
#define ON_PREPARE if (p->options[0].number == 9 && p->normal_num > 0) { \
  p->services->error(p->channel, "level 9 does not work"); \
  return MULTIFD_ERROR_INTERNAL; \
}
#include "base.h"
