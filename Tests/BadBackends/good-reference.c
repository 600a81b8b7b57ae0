/* expect: nothing */
/* Good, and sends how pages differ from what the receiver has. */
#define REFERENCE
#include "base.h"
