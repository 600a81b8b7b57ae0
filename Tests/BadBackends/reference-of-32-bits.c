/* expect: roundtrip/reference */
/* What is beyond 4 GiB in the image is not found by one side. */
#define REFERENCE
#define SENT_REFERENCE(p, i) ((p)->reference + (uint32_t)(p)->normal[i])
#include "base.h"
