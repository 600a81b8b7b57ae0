/* expect: roundtrip/contents */
/* beside: good */
/* Decodes only, and a run of 255 bytes as one of 254. */
#define CAPS (MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC | MULTIFD_CAP_RECV_ONLY)
#define SEND_SETUP NULL
#define SEND_CLEANUP NULL
#define SEND_PREPARE NULL
#define ON_RECEIVED \
  for (uint32_t i = 0; i < p->normal_num; i++) { \
    uint8_t *bytes = p->host + p->normal[i]; \
    if (bytes[0] == 0xff && bytes[1] == 0xff) bytes[7] ^= 1; \
  }
#include "base.h"
