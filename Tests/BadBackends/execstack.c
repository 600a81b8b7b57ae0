/* expect: lifecycle/process-state load/process-state */
/* Linked with -z execstack: makes the host's stack executable. */
/* flags: -Wl,-z,execstack */
#include "prelude.h"
#include "base.h"
