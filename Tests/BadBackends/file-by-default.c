/* expect: abi/option-table */
/* try: abi options bounds roundtrip/basic lifecycle/setup-cleanup */
/* A file of whoever has built it. */
#define KEY_DEFAULT "/usr/share/key"
#include "key.h"
