/* expect: faults/address-space */
#define ON_SEND_SETUP volatile uint8_t *scratch = malloc((size_t)p->page_size * p->page_count); \
  scratch[p->page_size - 1] = 0; \
  free((void *)scratch)
#include "base.h"
