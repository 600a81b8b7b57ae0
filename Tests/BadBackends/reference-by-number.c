/* expect: bounds/read-past-page */
/* Both sides agree on the place of a page's reference, and it is the wrong one. */
#define REFERENCE
#define REFERENCE_PAGE(p, i) ((p)->reference + (uint64_t)(i) * (p)->page_size)
#include "base.h"
