/* expect: bounds/pointers-kept */
#include "prelude.h"
static volatile uint8_t sink;
#define ON_PREPARE if (s->extra != NULL) sink = *(const uint8_t *)s->extra; \
  if (p->normal_num > 0) s->extra = (void *)(p->host + p->normal[0])
#include "base.h"
