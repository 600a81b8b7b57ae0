/* expect: lifecycle/prints-nothing */
#define ON_CORRUPT fprintf(stderr, "sample: corrupt\n")
#include "base.h"
