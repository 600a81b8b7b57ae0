/* expect: bounds/lists-read-only */
/* try: abi options bounds roundtrip/basic lifecycle/setup-cleanup */
/* Reads on behind the NUL of its file. */
#include "prelude.h"
static volatile uint8_t sink;
#define ON_SETUP if (KEY_SIZE(p) > 0) sink = KEY(p)[KEY_SIZE(p) + 1]
#include "key.h"
