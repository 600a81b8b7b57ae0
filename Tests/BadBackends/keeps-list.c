/* expect: bounds/pointers-kept */
#include "prelude.h"
static volatile uint64_t sink;
#define ON_PREPARE if (s->extra != NULL) sink = *(const uint64_t *)s->extra; \
  if (p->normal_num > 0) s->extra = (void *)p->normal
#include "base.h"
