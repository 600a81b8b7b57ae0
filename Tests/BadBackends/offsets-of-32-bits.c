/* expect: roundtrip/high-offsets bounds/read-past-page */
#define OFFSET(value) ((uint32_t)(value))
#include "base.h"
