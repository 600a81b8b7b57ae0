/* expect: bounds/params */
#define ON_RECEIVED p->next_packet_size = 0
#include "base.h"
