/* expect: resources/services-memory */
/* Forgets what it has when setup fails half-way. */
#define ON_CLEANUP if (s->page == NULL) { p->compress_data = NULL; return; }
#include "base.h"
