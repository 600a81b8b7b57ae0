/* expect: abi/option-table */
/* A file of whoever has built it. */
#define KEY_DEFAULT "/usr/share/key"
#include "key.h"
