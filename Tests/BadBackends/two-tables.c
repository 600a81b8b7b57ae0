/* expect: load/entry-twice */
#define TABLE_QUALIFIER
#define ON_ENTRY static MultiFDMethods other; if (host_major != MULTIFD_ABI_MAJOR) return NULL; \
  if (other.magic != 0) return &other; other = table
#include "base.h"
