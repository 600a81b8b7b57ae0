/* expect: isolation/concurrent isolation/first-packets */
/* All receivers decode through one page. */
#include "prelude.h"
static uint8_t shared[4096];
#define ON_RECEIVED if (p->normal_num > 0) { \
  uint8_t *page = p->host + p->normal[0]; \
  memcpy(shared, page, 4096); \
  for (int i = 0; i < 4; i++) sched_yield(); \
  usleep(50); \
  memcpy(page, shared, 4096); \
}
#include "base.h"
