/* expect: abi/later-host */
#define ON_SEND_SETUP \
  if (p->struct_size != sizeof *p) { \
    p->services->error(p->channel, "another host"); \
    return MULTIFD_ERROR_UNSUPPORTED; \
  }
#include "base.h"
