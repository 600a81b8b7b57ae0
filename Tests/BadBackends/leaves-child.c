/* expect: lifecycle/process-state lifecycle/system-calls */
/* Fork() in setup: a child that lives on (sleeps 2 s). */
#include "prelude.h"
#define ON_SEND_SETUP { static int once; if (!once++) { pid_t k = fork(); if (k == 0) { sleep(2); _exit(0); } } }
#include "base.h"
