/* expect full: lifecycle/failed-setup */
/* Memory that there is at level 9 only is not looked at. */
#include "prelude.h"
#define ON_SETUP if (p->options[0].number == 9) { uint8_t *more = ALLOC(p, 64); *more = 0; FREE(p, more); }
#include "base.h"
