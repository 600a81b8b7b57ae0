/* expect: lifecycle/process-state */
#define ON_SETUP setenv("SAMPLE", "1", 1)
#include "base.h"
