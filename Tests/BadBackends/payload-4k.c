/* expect: roundtrip/payload-sizes */
/* A payload of exactly 4096 bytes is decoded wrongly. */
#define ON_RECEIVED if (p->normal_num && p->next_packet_size == 4096) p->host[p->normal[0]] ^= 1
#include "base.h"
