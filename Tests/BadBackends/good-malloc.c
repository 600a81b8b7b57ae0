/* expect: nothing */
/* Good, with an allocator of its own. */
#define ALLOC(p, size) malloc(size)
#define FREE(p, pointer) free(pointer)
#include "base.h"
