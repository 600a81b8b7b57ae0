/* expect: lifecycle/system-calls */
/* Fork() and waitpid() in setup (a helper). */
#include "prelude.h"
#include <sys/wait.h>
#define ON_SETUP { pid_t k = fork(); if (k == 0) _exit(0); int st; waitpid(k, &st, 0); }
#include "base.h"
