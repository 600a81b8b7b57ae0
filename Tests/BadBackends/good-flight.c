/* expect: nothing */
#include "flight.h"
