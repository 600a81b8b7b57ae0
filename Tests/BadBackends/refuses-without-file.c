/* expect: options/apart */
/* try: abi options bounds roundtrip/basic lifecycle/setup-cleanup */
/* With a file a receiver refuses what a sender without one has made. */
#include "prelude.h"
#define ON_RECEIVED if (p->normal_num > 0 && p->options[1].number > 0 && s->buffer[0] == 0) \
  return corrupt(p, "made without the file")
#include "key.h"
