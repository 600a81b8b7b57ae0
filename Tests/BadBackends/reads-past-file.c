/* expect: bounds/lists-read-only */
/* Reads on behind the NUL of its file. */
#include "prelude.h"
static volatile uint8_t sink;
#define ON_SETUP if (KEY_SIZE(p) > 0) sink = KEY(p)[KEY_SIZE(p) + 1]
#include "key.h"
