/* expect: abi/callbacks */
#define SUBMITS send_submit, NULL, recv_submit, recv_complete
#include "flight.h"
