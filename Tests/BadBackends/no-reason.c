/* expect: hostile/reason */
#define CORRUPT_TEXT NULL
#include "base.h"
