/* expect: options/other-file */
/* try: abi options bounds roundtrip/basic lifecycle/setup-cleanup */
/* Takes for granted that what its file was used for fits it. */
static int *volatile nowhere;
#define ON_CORRUPT if (p->options[1].number > 0) *nowhere = 0
#include "key.h"
