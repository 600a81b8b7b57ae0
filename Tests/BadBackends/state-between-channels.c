/* expect: isolation/interleaved */
/* What one channel has sent last decides what another sends; the receive sides do the same. */
#include "prelude.h"
static _Atomic uint32_t last_sender, last_receiver;
#define ON_PREPARED if (p->normal_num > 0 && p->channels == 4 && p->id != atomic_exchange(&last_sender, p->id)) s->buffer[0] ^= 1
#include "base.h"
