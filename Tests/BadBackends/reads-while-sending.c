/* expect: bounds/services */
#define ON_PREPARE uint8_t byte; p->services->read(p->channel, &byte, 0)
#include "base.h"
