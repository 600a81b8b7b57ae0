/* expect: bounds/stack */
/* Uses 256k of stack in send_prepare. */
#include "prelude.h"
static __attribute__((noinline)) void deep(void) { volatile uint8_t a[262144]; for (size_t k = 0; k < sizeof a; k += 4096) a[k] = 1; (void)a[5]; }
#define ON_PREPARE deep()
#include "base.h"
