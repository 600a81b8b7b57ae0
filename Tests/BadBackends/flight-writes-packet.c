/* expect: bounds/params */
/* try: abi flight bounds roundtrip/basic roundtrip/stream hostile/reason */
/* Takes the zero pages out of the packet. */
#define F_COMPLETED packet->zero_num = 0
#include "flight.h"
