/* expect: bounds/write-past-page */
/* try: load abi bounds hostile roundtrip */
/* A run may leave its page. */
#define ON_OVERRUN (void)0
#include "base.h"
