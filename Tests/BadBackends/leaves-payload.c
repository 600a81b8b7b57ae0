/* expect: bounds/payload-read */
#define HEADER_SIZE 1
#define TRAILER(out) *out++ = 0x77
#define READ_SIZE (p->next_packet_size > 0 && p->normal_num > 0 ? p->next_packet_size - 1 : p->next_packet_size)
#define SKIP_TRAILER in++
#include "base.h"
