/* expect: bounds/pointers-kept */
/* Looks at the image of the packet before. */
#define REFERENCE
#define ON_RECV \
  if (p->reference != NULL && p->normal_num > 0) { \
    if (s->extra != NULL) s->number += *(const uint8_t *)s->extra; \
    s->extra = (void *)(p->reference + p->normal[0]); \
  }
#include "base.h"
