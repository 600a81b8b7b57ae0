/* expect: bounds/lists-read-only */
#include "prelude.h"
static volatile uint64_t sink;
#define ON_PREPARE if (p->normal_num > 0) sink = p->normal[p->normal_num]
#include "base.h"
