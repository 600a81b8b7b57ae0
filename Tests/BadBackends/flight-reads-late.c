/* expect: bounds/services bounds/payload-read roundtrip/basic */
/* try: abi flight bounds roundtrip/basic roundtrip/stream hostile/reason */
/* Reads the payload when the packet is waited for. */
#define F_READ(p, s, size) MULTIFD_OK
#define F_FIND p->services->read(p->channel, s->payload, packet->next_packet_size)
#include "flight.h"
