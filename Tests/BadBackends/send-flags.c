/* expect: roundtrip/flags */
/* Send side: fails when any of flags but the method's is set. */
#define ON_PREPARE if (p->flags & 0xffff0000u) { p->services->error(p->channel, "odd flags"); return MULTIFD_ERROR_INTERNAL; }
#include "base.h"
