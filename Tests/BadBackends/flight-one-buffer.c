/* expect: bounds/iov-stable flight/order */
/* may: flight/channels */
/* try: abi flight bounds roundtrip/basic roundtrip/stream hostile/reason */
/* All packets of a channel have one buffer for what was encoded. */
#define F_COMPLETED \
  State *first = c->slots[0].send.compress_data, *own = s->send.compress_data; \
  if (s->send.next_packet_size > 0) memcpy(first->buffer, own->buffer, s->send.next_packet_size)
#define F_BUFFER(c, s) ((State *)(c)->slots[0].send.compress_data)->buffer
#include "flight.h"
