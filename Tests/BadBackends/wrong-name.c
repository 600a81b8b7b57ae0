/* expect: abi/name */
#define NAME "another"
#include "base.h"
