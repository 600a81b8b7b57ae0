/* pool: zstd by threads of its own, with several packets of a channel in flight. The host submits packets and goes
 * on; whichever thread is free takes the next; they are done in any order, and complete waits for the one that is
 * asked for. What is here stands for a device with a queue as well: submit is the doorbell, complete the poll.
 *
 * The wire format is README.md's, the contract multifd_plugin.h. */
#include <multifd_plugin.h>

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { IN_FLIGHT = 8 };

/* ---- A channel's threads --------------------------------------------------------------------- */

/* One packet, in the slot that the host gave it. */
typedef struct {
  const void *packet; /* the host's, until it is completed */
  uint8_t *pages;     /* one after the other */
  uint8_t *payload;   /* payload_bound() bytes */
  size_t size;        /* of the payload */
  int32_t status;
  bool is_done;
} Job;

typedef struct Pool Pool;

struct Pool {
  const MultiFDServices *services; /* for the thread that is inside a callback, and no other */
  MultiFDChannel *channel;
  void (*work)(Pool *pool, Job *job, void *context); /* by any thread, for any job */
  void *(*make_context)(void);
  size_t (*free_context)(void *context);
  size_t page_size, bound;
  int level;
  Job jobs[IN_FLIGHT];

  pthread_mutex_t lock; /* of all that follows, and of is_done */
  pthread_cond_t posted, finished;
  Job *queue[IN_FLIGHT]; /* jobs that nobody has taken, the oldest first */
  uint32_t queued;
  bool is_closing;

  pthread_t threads[16];
  void *contexts[16];
  uint32_t threads_num; /* that run */
  uint32_t contexts_num;
};

static void *thread_main(void *argument) {
  Pool *pool = argument;
  pthread_mutex_lock(&pool->lock);
  void *context = pool->contexts[pool->threads_num++];
  pthread_cond_broadcast(&pool->finished);
  for (;;) {
    while (pool->queued == 0 && !pool->is_closing) pthread_cond_wait(&pool->posted, &pool->lock);
    if (pool->is_closing) break;
    Job *job = pool->queue[0];
    memmove(pool->queue, pool->queue + 1, --pool->queued * sizeof *pool->queue);
    pthread_mutex_unlock(&pool->lock);
    pool->work(pool, job, context);
    pthread_mutex_lock(&pool->lock);
    job->is_done = true;
    pthread_cond_broadcast(&pool->finished);
  }
  pthread_mutex_unlock(&pool->lock);
  return NULL;
}

static void pool_post(Pool *pool, Job *job, const void *packet) {
  job->packet = packet;
  job->status = MULTIFD_OK;
  pthread_mutex_lock(&pool->lock);
  job->is_done = false;
  pool->queue[pool->queued++] = job; /* there are no more jobs than slots */
  pthread_cond_signal(&pool->posted);
  pthread_mutex_unlock(&pool->lock);
}

static void pool_wait(Pool *pool, Job *job) {
  pthread_mutex_lock(&pool->lock);
  while (!job->is_done) pthread_cond_wait(&pool->finished, &pool->lock);
  pthread_mutex_unlock(&pool->lock);
}

/* Also of a pool whose setup has failed half-way. When it returns, nobody looks at a packet any more. */
static void pool_close(Pool *pool) {
  if (!pool) return;
  pthread_mutex_lock(&pool->lock);
  pool->is_closing = true; /* what nobody has taken is dropped, what somebody has is finished */
  pthread_cond_broadcast(&pool->posted);
  uint32_t threads = pool->threads_num;
  pthread_mutex_unlock(&pool->lock);
  for (uint32_t i = 0; i < threads; i++) pthread_join(pool->threads[i], NULL);
  for (uint32_t i = 0; i < pool->contexts_num; i++) pool->free_context(pool->contexts[i]);
  for (int i = 0; i < IN_FLIGHT; i++) {
    pool->services->free(pool->channel, pool->jobs[i].pages);
    pool->services->free(pool->channel, pool->jobs[i].payload);
  }
  pthread_cond_destroy(&pool->posted);
  pthread_cond_destroy(&pool->finished);
  pthread_mutex_destroy(&pool->lock);
  pool->services->free(pool->channel, pool);
}

/* Memory and threads; the pool itself is there. */
static int32_t pool_open(Pool *pool, size_t pages, uint32_t threads) {
  for (int i = 0; i < IN_FLIGHT; i++) {
    pool->jobs[i].pages = pool->services->alloc(pool->channel, pages, 64);
    pool->jobs[i].payload = pool->services->alloc(pool->channel, pool->bound, 64);
    if (!pool->jobs[i].pages || !pool->jobs[i].payload) return MULTIFD_ERROR_NO_MEMORY;
  }
  for (; pool->contexts_num < threads; pool->contexts_num++) {
    pool->contexts[pool->contexts_num] = pool->make_context();
    if (!pool->contexts[pool->contexts_num]) return MULTIFD_ERROR_NO_MEMORY;
  }
  /* Signals are the host's: none of these threads is ever interrupted by one. A fault of their own is no such
   * signal, and the host wants to say whose it was. */
  sigset_t all, before;
  sigfillset(&all);
  const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&all, faults[i]);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int32_t status = MULTIFD_OK;
  for (uint32_t i = 0; i < threads && status == MULTIFD_OK; i++) {
    if (pthread_create(&pool->threads[i], NULL, thread_main, pool) != 0) {
      status = MULTIFD_ERROR_NO_MEMORY;
      break;
    }
    /* One after the other: cleanup knows all that were started. */
    pthread_mutex_lock(&pool->lock);
    while (pool->threads_num == i) pthread_cond_wait(&pool->finished, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return status;
}

/* ---- Common ---------------------------------------------------------------------------------- */

/* Says why a callback fails, once, and gives the status to return. */
#define FAIL(params, status, text) ((params)->services->error((params)->channel, (text)), (status))

static uint64_t payload_bound(uint32_t page_size, uint32_t page_count) {
  if (page_size < 4096 || page_size > 1u << 30 || (page_size & (page_size - 1)) != 0) return 0;
  uint64_t pages = (uint64_t)page_size * page_count;
  if (pages > UINT32_MAX / 2) return pages > 0 ? UINT64_MAX : 0; /* more than a packet can carry */
  return page_count == 0 ? 0 : ZSTD_compressBound(pages);
}

/* What both sides' setup does. A macro, since the params are two types with the same members. */
#define POOL_SETUP(p, the_work, the_make, the_free)                                              \
  uint64_t bound = payload_bound((p)->page_size, (p)->page_count);                               \
  if (bound == 0 || bound > UINT32_MAX)                                                          \
    return FAIL(p, MULTIFD_ERROR_UNSUPPORTED, "packets of this size are not supported");         \
  Pool *pool = (p)->services->alloc((p)->channel, sizeof *pool, 64);                             \
  if (!pool) return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");                           \
  memset(pool, 0, sizeof *pool);                                                                 \
  pool->services = (p)->services;                                                                \
  pool->channel = (p)->channel;                                                                  \
  pool->work = the_work;                                                                         \
  pool->make_context = the_make;                                                                 \
  pool->free_context = the_free;                                                                 \
  pool->page_size = (p)->page_size;                                                              \
  pool->bound = bound;                                                                           \
  pool->level = (int)(p)->options[0].number;                                                     \
  pthread_mutex_init(&pool->lock, NULL);                                                         \
  pthread_cond_init(&pool->posted, NULL);                                                        \
  pthread_cond_init(&pool->finished, NULL);                                                      \
  (p)->compress_data = pool; /* from here on cleanup finds it */                                 \
  int32_t status =                                                                               \
      pool_open(pool, (size_t)(p)->page_size * (p)->page_count, (uint32_t)(p)->options[1].number); \
  return status == MULTIFD_OK ? status : FAIL(p, status, "no memory, or no thread, could be had")

/* ---- Send ------------------------------------------------------------------------------------ */

static void *make_compressor(void) { return ZSTD_createCCtx(); }
static size_t free_compressor(void *context) { return ZSTD_freeCCtx(context); }

static void compress(Pool *pool, Job *job, void *context) {
  const MultiFDSendPacket *packet = job->packet;
  /* The guest may be writing to its pages: what is compressed is a copy, each byte of it old or new. */
  for (uint32_t i = 0; i < packet->normal_num; i++)
    memcpy(job->pages + i * pool->page_size, packet->host + packet->normal[i], pool->page_size);
  job->size = ZSTD_compressCCtx(
      context, job->payload, pool->bound, job->pages, packet->normal_num * pool->page_size, pool->level);
  if (!ZSTD_isError(job->size)) return;
  job->status = ZSTD_getErrorCode(job->size) == ZSTD_error_memory_allocation ? MULTIFD_ERROR_NO_MEMORY
                                                                              : MULTIFD_ERROR_INTERNAL;
}

static int32_t send_setup(MultiFDSendParams *p) { POOL_SETUP(p, compress, make_compressor, free_compressor); }

static void send_cleanup(MultiFDSendParams *p) {
  pool_close(p->compress_data);
  p->compress_data = NULL;
}

static int32_t send_submit(MultiFDSendParams *p, MultiFDSendPacket *packet) {
  Pool *pool = p->compress_data;
  if (packet->normal_num > 0) pool_post(pool, &pool->jobs[packet->slot], packet);
  return MULTIFD_OK;
}

static int32_t send_complete(MultiFDSendParams *p, MultiFDSendPacket *packet) {
  Pool *pool = p->compress_data;
  Job *job = &pool->jobs[packet->slot];
  packet->iovs_num = 0;
  packet->next_packet_size = 0;
  if (packet->normal_num == 0) return MULTIFD_OK;
  pool_wait(pool, job);
  if (job->status == MULTIFD_ERROR_NO_MEMORY) return FAIL(p, job->status, "out of memory");
  if (job->status != MULTIFD_OK) return FAIL(p, job->status, "zstd cannot compress a packet");
  packet->iov[0].iov_base = job->payload;
  packet->iov[0].iov_len = job->size;
  packet->iovs_num = 1;
  packet->next_packet_size = (uint32_t)job->size;
  return MULTIFD_OK;
}

/* ---- Receive --------------------------------------------------------------------------------- */

static void *make_decompressor(void) { return ZSTD_createDCtx(); }
static size_t free_decompressor(void *context) { return ZSTD_freeDCtx(context); }

static void decompress(Pool *pool, Job *job, void *context) {
  const MultiFDRecvPacket *packet = job->packet;
  size_t wanted = packet->normal_num * pool->page_size;
  job->status = MULTIFD_ERROR_CORRUPT;
  /* One frame, and nothing behind it: the decoder would take several. */
  if (ZSTD_findFrameCompressedSize(job->payload, job->size) != job->size) return;
  size_t size = ZSTD_decompressDCtx(context, job->pages, wanted, job->payload, job->size);
  if (ZSTD_isError(size) && ZSTD_getErrorCode(size) == ZSTD_error_memory_allocation)
    job->status = MULTIFD_ERROR_NO_MEMORY;
  if (size != wanted) return;
  for (uint32_t i = 0; i < packet->normal_num; i++)
    memcpy(packet->host + packet->normal[i], job->pages + i * pool->page_size, pool->page_size);
  job->status = MULTIFD_OK;
}

static int32_t recv_setup(MultiFDRecvParams *p) {
  POOL_SETUP(p, decompress, make_decompressor, free_decompressor);
}

static void recv_cleanup(MultiFDRecvParams *p) {
  pool_close(p->compress_data);
  p->compress_data = NULL;
}

static int32_t recv_submit(MultiFDRecvParams *p, MultiFDRecvPacket *packet) {
  Pool *pool = p->compress_data;
  Job *job = &pool->jobs[packet->slot];
  if (packet->normal_num == 0)
    return packet->next_packet_size == 0 ? MULTIFD_OK
                                         : FAIL(p, MULTIFD_ERROR_CORRUPT, "a payload without pages");
  if (packet->next_packet_size > pool->bound)
    return FAIL(p, MULTIFD_ERROR_CORRUPT, "the payload is larger than one can be");
  job->size = packet->next_packet_size;
  int32_t status = p->services->read(p->channel, job->payload, job->size);
  if (status == MULTIFD_OK) pool_post(pool, job, packet);
  return status; /* of a read that failed the host knows why */
}

static int32_t recv_complete(MultiFDRecvParams *p, MultiFDRecvPacket *packet) {
  Pool *pool = p->compress_data;
  Job *job = &pool->jobs[packet->slot];
  if (packet->normal_num == 0) return MULTIFD_OK;
  pool_wait(pool, job);
  if (job->status == MULTIFD_ERROR_NO_MEMORY) return FAIL(p, job->status, "out of memory");
  if (job->status != MULTIFD_OK) return FAIL(p, job->status, "the payload is not a zstd frame of these pages");
  return MULTIFD_OK;
}

/* ---- The table ------------------------------------------------------------------------------- */

static const MultiFDOption options[] = {
    {.name = "level",
     .help = "how hard zstd tries",
     .default_value = "3",
     .minimum = 1,
     .maximum = 19,
     .type = MULTIFD_OPTION_INT},
    {.name = "threads",
     .help = "threads of a channel and direction",
     .default_value = "3",
     .minimum = 1,
     .maximum = 16,
     .type = MULTIFD_OPTION_INT},
};

/* No send_prepare and no recv: a host of ABI 1.0, which knows nothing else, refuses it. */
static const MultiFDMethods table = {
    MULTIFD_METHODS_HEAD,
    .capabilities = MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC,
    .name = "pool",
    .version = "1.0.0",
    .wire_format = "x-pool/1",
    .description = "zstd by threads, with packets in flight: an example",
    .qemu_method = MULTIFD_QEMU_METHOD_UNKNOWN,
    .max_in_flight = IN_FLIGHT,
    .options = options,
    .options_num = sizeof options / sizeof options[0],
    .option_size = sizeof options[0],
    .payload_bound = payload_bound,
    .send_setup = send_setup,
    .send_cleanup = send_cleanup,
    .recv_setup = recv_setup,
    .recv_cleanup = recv_cleanup,
    .send_submit = send_submit,
    .send_complete = send_complete,
    .recv_submit = recv_submit,
    .recv_complete = recv_complete,
};

const MultiFDMethods *multifd_plugin_entry(uint32_t host_major) {
  return host_major == MULTIFD_ABI_MAJOR ? &table : NULL;
}
