/* expect: lifecycle/cleanup-alone lifecycle/failed-setup */
#include "prelude.h"
static void careless_cleanup(MultiFDSendParams *p);
#define SEND_CLEANUP careless_cleanup
#include "base.h"
static void careless_cleanup(MultiFDSendParams *p) {
  ((State *)p->compress_data)->number = 0;
  send_cleanup(p);
}
