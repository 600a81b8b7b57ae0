/* expect: bounds/pointers-kept */
/* try: abi flight bounds roundtrip/basic roundtrip/stream hostile/reason */
/* The send side's cleanup does not wait for threads that still work on packets. */
#define ALLOC(p, size) malloc(size)
#define FREE(p, pointer) free(pointer)
#define ON_PREPARE usleep(1500)
#define F_CLOSE \
  if (c->in_flight > 0 && !c->receives) { \
    c->is_closing = 1; \
    for (int i = 0; i < c->threads_num; i++) pthread_detach(c->threads[i]); \
    return; \
  }
#include "flight.h"
