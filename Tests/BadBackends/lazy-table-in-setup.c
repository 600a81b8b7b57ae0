/* expect full: isolation/first-packets */
/* The first setup fills a table for all channels, the flag set first; every packet goes by it. */
#include "prelude.h"
static volatile int ready; static volatile uint8_t ident[1 << 16];
#define ON_SETUP if (!ready) { ready = 1; for (int k = 0; k < 1 << 16; k++) ident[k] = 0x55; }
#define ON_RECEIVED for (uint32_t i = 0; i < p->normal_num; i++) p->host[p->normal[i]] ^= ident[0xffff] ^ 0x55
#include "base.h"
