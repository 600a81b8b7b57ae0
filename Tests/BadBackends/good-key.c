/* expect: nothing */
/* Good, with an option that is a file. */
#include "key.h"
