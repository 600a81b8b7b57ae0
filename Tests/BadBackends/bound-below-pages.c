/* expect: abi/bound bounds/payload-bound */
/* Counts on pages that compress. */
#define BOUND(size, count) ((count) == 0 ? 0 : (uint64_t)(count) * (size) / 2 + 64)
#define BUFFER_SIZE(p) ((uint64_t)(p)->page_count * ((uint64_t)(p)->page_size + 1))
#include "base.h"
