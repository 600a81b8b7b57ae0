/* expect: bounds/pointers-kept */
/* may: bounds/read-past-page */
/* try: abi flight bounds roundtrip/basic roundtrip/stream hostile/reason */
/* A thread looks at a page once more when the packet has been said to be complete, if there are others. */
#define F_WORKED \
  const volatile uint8_t *late = c->receives || c->in_flight < 2 || s->send.normal_num == 0 ? NULL : s->send.host + s->send.normal[0]
#define F_TOLD \
  usleep(200); \
  if (late != NULL) (void)*late
#include "flight.h"
