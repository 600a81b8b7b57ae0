/* expect: bounds/iov-sum */
#define ON_PREPARED if (p->normal_num > 0) p->next_packet_size += 1
#include "base.h"
