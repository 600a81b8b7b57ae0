/* expect: resources/processor-time */
/* Sleeps 1 ms in every packet of more than 100 pages. */
#define ON_PREPARE if (p->normal_num > 100) usleep(1000)
#include "base.h"
