/* expect: hostile/reason */
#define CORRUPT_TEXT "corrupt\n"
#include "base.h"
