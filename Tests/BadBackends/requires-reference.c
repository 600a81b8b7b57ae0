/* expect: roundtrip/reference */
/* With an image once, with an image always. */
#define REFERENCE
#define ON_RECEIVED \
  if (p->reference != NULL) s->number = 1; \
  else if (s->number != 0 && p->normal_num > 0) return corrupt(p, "where is the reference?")
#include "base.h"
