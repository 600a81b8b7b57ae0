/* expect full: roundtrip/page-sizes */
/* Payloads above 16 MiB (24-bit length) are wrong. */
#define ON_RECEIVED if (p->next_packet_size > 1u << 24) p->host[p->normal[0]] ^= 1
#include "base.h"
