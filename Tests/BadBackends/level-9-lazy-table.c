/* expect full: isolation/first-packets */
/* A table for level 9 is filled at the first packet, the flag set first. */
#include "prelude.h"
static volatile int ready; static uint8_t ident[1 << 19];
#define ON_RECEIVED if (p->options[0].number == 9) { \
  if (!ready) { ready = 1; for (int k = 1 << 19; k-- > 0;) ((volatile uint8_t *)ident)[k] = 0x55; } \
  for (uint32_t i = 0; i < p->normal_num; i++) p->host[p->normal[i]] ^= ident[(p->normal[i] >> 3) & 0xffff] ^ 0x55; }
#include "base.h"
