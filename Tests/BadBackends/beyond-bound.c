/* expect: bounds/payload-bound */
/* Forgets the byte that each page costs. */
#define BOUND(size, count) ((uint64_t)(count) * (size))
#define BUFFER_SIZE(p) ((uint64_t)(p)->page_count * ((uint64_t)(p)->page_size + 1))
#include "base.h"
