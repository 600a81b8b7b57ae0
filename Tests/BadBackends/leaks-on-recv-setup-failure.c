/* expect: resources/memory-failures */
/* Leaks 64 bytes of malloc whenever recv_setup fails. */
#include "prelude.h"
static int32_t mine(MultiFDRecvParams *p);
#define TABLE changed
#define NO_ENTRY
#include "base.h"
static MultiFDMethods changed2;
static int32_t mine(MultiFDRecvParams *p) {
  void *volatile extra = malloc(64);
  int32_t status = recv_setup(p);
  if (status == MULTIFD_OK) free(extra);
  return status;
}
const MultiFDMethods *multifd_plugin_entry(uint32_t host_major) {
  if (host_major != MULTIFD_ABI_MAJOR) return NULL;
  if (changed2.magic == 0) { MultiFDMethods t = table; t.recv_setup = mine; changed2 = t; }
  return &changed2;
}
