/* expect: faults/read-fails */
#define ON_READ_FAILURE memset(s->buffer, 0, p->next_packet_size)
#include "base.h"
