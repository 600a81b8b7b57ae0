/* expect: isolation/silent-peer */
/* One lock for all channels is held while it waits in read(): a silent peer channel stops all others. */
#include "prelude.h"
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
#define ON_RECV pthread_mutex_lock(&lock)
#define ON_READ_FAILURE do { pthread_mutex_unlock(&lock); return status; } while (0)
#define ON_PAYLOAD pthread_mutex_unlock(&lock)
#include "base.h"
