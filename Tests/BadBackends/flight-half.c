/* expect: abi/callbacks */
/* try: abi flight bounds roundtrip/basic roundtrip/stream hostile/reason */
#define SUBMITS send_submit, NULL, recv_submit, recv_complete
#include "flight.h"
