/* expect: nothing */
/* beside: good */
/* Encodes only; another one decodes. */
#define CAPS (MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC | MULTIFD_CAP_SEND_ONLY)
#define RECV_SETUP NULL
#define RECV_CLEANUP NULL
#define RECV NULL
#include "base.h"
