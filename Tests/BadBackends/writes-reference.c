/* expect: bounds/lists-read-only */
/* Brings the image up to date, which is not its own. */
#define REFERENCE
#define ON_RECEIVED \
  for (uint32_t i = 0; p->reference != NULL && i < p->normal_num; i++) \
    memcpy((void *)(p->reference + p->normal[i]), p->host + p->normal[i], p->page_size)
#include "base.h"
