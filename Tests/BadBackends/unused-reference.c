/* expect: roundtrip/reference */
/* Declared for nothing. */
#define CAPS (MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC | MULTIFD_CAP_REFERENCE)
#include "base.h"
