/* expect: roundtrip/reference */
/* try: abi flight roundtrip/basic roundtrip/reference hostile/reference */
/* The reference that came last is that of all packets in flight: they are not done before it comes. */
#include "prelude.h"
#include <unistd.h>
#define REFERENCE
#define F_SUBMIT for (int k = 0; k < SLOTS; k++) c->slots[k].send.reference = packet->reference
#define F_TAKEN usleep(1000)
#include "flight.h"
