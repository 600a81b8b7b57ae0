/* expect: bounds/services hostile/reason */
/* try: abi flight bounds roundtrip/basic roundtrip/stream hostile/reason */
/* A thread of its own says why a packet is refused. */
#include "prelude.h"
static void say(MultiFDRecvParams *p, const char *text);
#define ON_CORRUPT say(p, text)
#include "flight.h"
static void say(MultiFDRecvParams *p, const char *text) {
  Channel *c = slot_of(p->channel)->channel;
  c->services->error(c->channel, text);
}
