/* expect: roundtrip/payload-sizes */
/* A payload of a multiple of 65536 bytes is decoded wrongly. */
#define ON_RECEIVED if (p->normal_num && p->next_packet_size % 65536 == 0) p->host[p->normal[0]] ^= 1
#include "base.h"
