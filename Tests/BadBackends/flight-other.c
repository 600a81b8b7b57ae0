/* expect: bounds/iov-stable flight/order flight/failure flight/channels */
/* try: abi flight bounds roundtrip/basic roundtrip/stream hostile/reason */
/* Completes a packet with what another one has become, when there are several. */
#define F_BUFFER(c, s) \
  ((State *)(c)->slots[(c)->in_flight > 0 ? ((s) - (c)->slots + 1) % SLOTS : (s) - (c)->slots].send.compress_data)->buffer
#include "flight.h"
