/* expect: nothing */
/* beside: good */
/* Decodes only; another one encodes. */
#define CAPS (MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC | MULTIFD_CAP_RECV_ONLY)
#define SEND_SETUP NULL
#define SEND_CLEANUP NULL
#define SEND_PREPARE NULL
#include "base.h"
