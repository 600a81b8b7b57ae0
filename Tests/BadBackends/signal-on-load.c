/* expect: load/process-state */
#define ON_LOAD signal(SIGUSR1, SIG_IGN)
#include "base.h"
