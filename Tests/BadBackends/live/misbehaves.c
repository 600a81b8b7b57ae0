/* nocomp that does its work up to packet AT of a channel, of CHANNEL if that is given, and then something else: what the roles
 * must bear.
 *
 *   -DRECV=STATEMENT      in recv(), once the payload has been read
 *   -DPREPARE=STATEMENT   in send_prepare()
 *   -DSETUP=STATEMENT     in recv_setup()
 *   -DCLEANUP=STATEMENT   in recv_cleanup()
 *   -DDONE=STATEMENT      in send_cleanup()
 *   -DCAPABILITIES=BITS   others than nocomp's
 *   -DMETHOD=BITS         another of QEMU's methods, with its -DFORMAT=TEXT */
#include <sys/prctl.h>
#include "../prelude.h"

#ifndef AT
#define AT 2
#endif
#ifdef CHANNEL
#define IS_IT(p) ((p)->id == CHANNEL)
#else
#define IS_IT(p) 1
#endif
#ifndef METHOD
#define METHOD MULTIFD_QEMU_METHOD_NONE
#define FORMAT "none/1"
#endif
#ifndef CAPABILITIES
#define CAPABILITIES MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC | MULTIFD_CAP_ZERO_COPY
#endif
#ifndef RECV
#define RECV
#endif
#ifndef PREPARE
#define PREPARE
#endif
#ifndef SETUP
#define SETUP
#endif
#ifndef CLEANUP
#define CLEANUP
#endif
#ifndef DONE
#define DONE
#endif

/* Packets of the channel so far: its whole state. */
typedef struct { unsigned packets; } State;

static void hang(void) { for (;;) pause(); }
static void spin(void) { for (volatile unsigned i = 0;; i++) {} }
static void crash(void) { *(volatile int *)16 = 1; }
/* As storage does that does not answer: vfork(2) waits, and not for signals. */
static void stall(void) {
  if (vfork() != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  hang();
}
/* Off the end of its own stack. */
static int overflow(int depth) {
  volatile char frame[4096];
  frame[0] = (char)depth;
  return overflow(depth + 1) + frame[0];
}
static void *crash_elsewhere(void *unused) {
  crash();
  return unused;
}
/* In a thread of its own, while this one waits. */
static void thread_crash(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, crash_elsewhere, NULL);
  hang();
}
/* Memory of its own in the place of a page of the guest, which holds what the page held. */
static void remap(void *page, size_t size) {
  void *copy = malloc(size);
  memcpy(copy, page, size);
  mmap(page, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  memcpy(page, copy, size);
  free(copy);
}
static void use_all(void) {
  (void)remap, (void)hang, (void)spin, (void)crash, (void)overflow, (void)thread_crash, (void)stall;
}

static uint64_t bound(uint32_t size, uint32_t count) { return (uint64_t)size * count; }

static int32_t send_setup(MultiFDSendParams *p) {
  p->compress_data = calloc(1, sizeof(State));
  use_all();
  return p->compress_data ? MULTIFD_OK : MULTIFD_ERROR_NO_MEMORY;
}

static void send_cleanup(MultiFDSendParams *p) {
  if (IS_IT(p)) { DONE; }
  free(p->compress_data);
}

static int32_t send_prepare(MultiFDSendParams *p) {
  State *s = p->compress_data;
  if (IS_IT(p) && ++s->packets >= AT) { PREPARE; }
  for (uint32_t i = 0; i < p->normal_num; i++) {
    p->iov[i].iov_base = (void *)(p->host + p->normal[i]);
    p->iov[i].iov_len = p->page_size;
  }
  p->iovs_num = p->normal_num;
  p->next_packet_size = p->normal_num * p->page_size;
  return MULTIFD_OK;
}

static int32_t recv_setup(MultiFDRecvParams *p) {
  if (IS_IT(p)) { SETUP; }
  p->compress_data = calloc(1, sizeof(State));
  return p->compress_data ? MULTIFD_OK : MULTIFD_ERROR_NO_MEMORY;
}

static void recv_cleanup(MultiFDRecvParams *p) {
  if (IS_IT(p)) { CLEANUP; }
  free(p->compress_data);
}

static int32_t receive(MultiFDRecvParams *p) {
  State *s = p->compress_data;
  if (p->next_packet_size != p->normal_num * p->page_size) {
    p->services->error(p->channel, "a payload of another size than its pages");
    return MULTIFD_ERROR_CORRUPT;
  }
  for (uint32_t i = 0; i < p->normal_num; i++) {
    int32_t status = p->services->read(p->channel, p->host + p->normal[i], p->page_size);
    if (status != MULTIFD_OK) return status;
  }
  if (IS_IT(p) && ++s->packets >= AT) { RECV; }
  return MULTIFD_OK;
}

static const MultiFDMethods table = {
  MULTIFD_METHODS_HEAD, CAPABILITIES,
  BACKEND_NAME, "1.0.0", FORMAT, "does its work, up to a point", METHOD, 0,
  NULL, 0, sizeof(MultiFDOption),
  bound, send_setup, send_cleanup, send_prepare, recv_setup, recv_cleanup, receive,
};

const MultiFDMethods *multifd_plugin_entry(uint32_t host_major) {
  return host_major == MULTIFD_ABI_MAJOR ? &table : NULL;
}
