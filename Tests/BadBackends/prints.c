/* expect: lifecycle/prints-nothing */
#define ON_SETUP puts("channel ready")
#include "base.h"
