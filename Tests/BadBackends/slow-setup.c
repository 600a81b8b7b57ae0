/* expect: lifecycle/prompt */
/* Setup takes 20 ms of sleep. */
#define ON_SETUP usleep(20000)
#include "base.h"
