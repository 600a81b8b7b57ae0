/* expect: bounds/pointers-kept */
/* may: roundtrip/empty bounds/lists-read-only flight/failure flight/channels flight/order flight/cleanup */
/* try: abi flight bounds roundtrip/basic roundtrip/stream hostile/reason */
/* Does not wait for packets but for the last one that was submitted. */
#define F_WORKED usleep(1000)
#define F_WAIT \
  while (!s->is_done && c->last == (uint32_t)(s - c->slots)) pthread_cond_wait(&c->change, &c->lock)
#include "flight.h"
