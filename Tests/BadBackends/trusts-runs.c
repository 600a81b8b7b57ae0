/* expect: bounds/write-past-page */
/* A run may leave its page. */
#define ON_OVERRUN (void)0
#include "base.h"
