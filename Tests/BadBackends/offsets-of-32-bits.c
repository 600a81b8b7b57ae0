/* expect: roundtrip/high-offsets */
#define OFFSET(value) ((uint32_t)(value))
#include "base.h"
