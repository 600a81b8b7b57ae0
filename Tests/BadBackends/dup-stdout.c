/* expect: lifecycle/process-state */
/* Sets O_NONBLOCK on descriptor 1. */
#define ON_SETUP fcntl(1, F_SETFL, fcntl(1, F_GETFL) | O_NONBLOCK)
#include "base.h"
