/* expect: roundtrip/empty */
#include "prelude.h"
static int *volatile nowhere;
#define ON_PREPARE if (p->normal_num == 0) *nowhere = 1
#include "base.h"
