/* expect: load/one-symbol */
#include "prelude.h"
__attribute__((visibility("default"))) int helper(void) { return 1; }
#include "base.h"
