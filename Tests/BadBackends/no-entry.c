/* expect: load/entry */
#define NO_ENTRY
#include "base.h"
