/* expect: lifecycle/process-state */
#define ON_SEND_SETUP sigset_t set; sigemptyset(&set); sigaddset(&set, SIGUSR2); \
  sigprocmask(SIG_BLOCK, &set, NULL)
#include "base.h"
