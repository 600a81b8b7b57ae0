/* expect: flight/failure */
/* try: abi flight bounds roundtrip/basic roundtrip/stream hostile/reason */
/* A packet that fails makes those fail that were submitted before it. */
#define F_STATUS c->status
#include "flight.h"
