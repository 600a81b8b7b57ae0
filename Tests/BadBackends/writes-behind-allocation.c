/* expect: bounds/allocations */
#define ON_SETUP s->page[p->page_size] = 0
#include "base.h"
