/* expect: isolation/concurrent isolation/first-packets isolation/silent-peer lifecycle/threads roundtrip/changing-pages */
#include "prelude.h"
static __thread void *mine;
#define ON_SEND_SETUP mine = s
#define ON_PREPARE if (mine == NULL && p->normal_num > 0) { \
  p->services->error(p->channel, "not set up"); \
  return MULTIFD_ERROR_INTERNAL; \
}
#include "base.h"
