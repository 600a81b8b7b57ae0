/* expect: bounds/read-past-page */
#include "prelude.h"
static volatile uint8_t sink;
#define ON_PREPARE for (uint32_t i = 0; i < p->normal_num; i++) sink = p->host[p->normal[i] + p->page_size]
#include "base.h"
