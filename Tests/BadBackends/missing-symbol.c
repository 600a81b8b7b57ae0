/* expect: load/opens */
#include "prelude.h"
extern int nobody_has_this(void);
#define ON_SETUP s->setups += nobody_has_this()
#include "base.h"
