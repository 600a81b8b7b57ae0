/* expect: resources/memory-packets */
/* try: abi flight resources roundtrip/basic */
/* Loses what it takes for a packet that is submitted while another is in flight. */
#include "prelude.h"
#define F_SUBMITTED if (c->in_flight > 1 && malloc(64) == NULL) return MULTIFD_ERROR_NO_MEMORY
#include "flight.h"
