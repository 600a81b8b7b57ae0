/* expect: lifecycle/process-state */
#define ON_SETUP setlocale(LC_ALL, "C.UTF-8")
#include "base.h"
