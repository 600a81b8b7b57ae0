/* expect full: isolation/first-packets */
/* The last cleanup takes a table away that all channels share, though another setup has it by then. */
#include "prelude.h"
static _Atomic int users; static uint8_t *_Atomic shared;
#define ON_SETUP if (atomic_fetch_add(&users, 1) == 0 || shared == NULL) { uint8_t *fresh = malloc(1 << 16); if (fresh == NULL) NO_MEMORY; memset(fresh, 0x55, 1 << 16); shared = fresh; }
#define ON_RECEIVED for (uint32_t i = 0; i < p->normal_num; i++) p->host[p->normal[i]] ^= shared[i] ^ 0x55
#define ON_CLEANUP if (atomic_fetch_sub(&users, 1) == 1) { for (volatile int k = 0; k < 500000; k++) {} uint8_t *last = shared; shared = NULL; if (last != NULL) memset(last, 0, 1 << 16); free(last); }
#include "base.h"
