/* expect: bounds/services bounds/payload-read roundtrip/basic */
/* Reads the payload when the packet is waited for. */
#define F_READ(p, s, size) MULTIFD_OK
#define F_FIND p->services->read(p->channel, s->payload, packet->next_packet_size)
#include "flight.h"
