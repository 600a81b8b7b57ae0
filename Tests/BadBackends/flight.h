/* base.h by threads, with packets in flight: what a file of this folder can spoil of that. Each slot of a channel
 * has a state of base.h's and params that are the packet's, so that base.h's callbacks do the work. */
#ifndef SLOTS
#define SLOTS 4
#endif
#define IN_FLIGHT SLOTS
#define NO_ENTRY

#include "base.h"

/* Statements at certain places: `c` is the channel, `s` the slot, `packet` the host's. */
#ifndef F_SUBMIT /* before a packet is handed to a thread */
#define F_SUBMIT
#endif
#ifndef F_SUBMITTED /* when it has been */
#define F_SUBMITTED
#endif
#ifndef F_TAKEN /* by the thread, when it has a packet and nothing is done with it */
#define F_TAKEN
#endif
#ifndef F_WORKED /* by the thread, when the packet is done and nobody has been told */
#define F_WORKED
#endif
#ifndef F_TOLD /* by the thread, when everybody has been told */
#define F_TOLD
#endif
#ifndef F_COMPLETE /* before it is waited for */
#define F_COMPLETE
#endif
#ifndef F_COMPLETED /* when it is there */
#define F_COMPLETED
#endif
#ifndef F_STATUS /* what a packet ends with */
#define F_STATUS s->status
#endif
#ifndef F_JOIN /* by cleanup, for every thread */
#define F_JOIN(thread) pthread_join(thread, NULL)
#endif
#ifndef F_CLOSE /* by cleanup, before anything else */
#define F_CLOSE
#endif
#ifndef F_BUFFER /* where the payload of a slot is */
#define F_BUFFER(c, s) ((State *)(s)->send.compress_data)->buffer
#endif
#ifndef F_SLOT
#define F_SLOT(packet) (packet)->slot
#endif
#ifndef F_READ /* in recv_submit */
#define F_READ(p, s, size) (p)->services->read((p)->channel, (s)->payload, (size))
#endif
#ifndef F_FIND /* for recv_complete */
#define F_FIND
#endif

typedef struct Channel Channel;
typedef struct {
  Channel *channel;
  MultiFDSendParams send;
  MultiFDRecvParams recv;
  uint8_t *payload; /* of recv */
  size_t at;
  const char *text;
  int32_t status;
  int is_done, is_queued;
} Slot;

struct Channel {
  const MultiFDServices *services;
  MultiFDChannel *channel;
  MultiFDServices shadow;
  Slot slots[SLOTS];
  int receives, is_closing;
  uint32_t last; /* the slot that was submitted last */
  int32_t status; /* the worst so far */
  pthread_mutex_t lock;
  pthread_cond_t change;
  pthread_t threads[2];
  int threads_num;
  int in_flight;
};

static Slot *slot_of(MultiFDChannel *channel) { return (Slot *)channel; }
static int32_t shadow_read(MultiFDChannel *channel, void *data, size_t size) {
  Slot *s = slot_of(channel);
  if (size > s->recv.next_packet_size - s->at) return MULTIFD_ERROR_CORRUPT;
  memcpy(data, s->payload + s->at, size);
  s->at += size;
  return MULTIFD_OK;
}
static void shadow_error(MultiFDChannel *channel, const char *text) { slot_of(channel)->text = text; }
static void *shadow_alloc(MultiFDChannel *channel, size_t size, size_t alignment) {
  Channel *c = slot_of(channel)->channel;
  return c->services->alloc(c->channel, size, alignment);
}
static void shadow_free(MultiFDChannel *channel, void *pointer) {
  Channel *c = slot_of(channel)->channel;
  c->services->free(c->channel, pointer);
}

static void *work(void *argument) {
  Channel *c = argument;
  pthread_mutex_lock(&c->lock);
  while (!c->is_closing) {
    Slot *s = NULL;
    for (int i = 0; i < SLOTS && s == NULL; i++)
      if (c->slots[i].is_queued) s = &c->slots[i]; /* any of them: the order is nobody's business */
    if (s == NULL) {
      pthread_cond_wait(&c->change, &c->lock);
      continue;
    }
    s->is_queued = 0;
    pthread_mutex_unlock(&c->lock);
    F_TAKEN;
    const int32_t status = c->receives ? recv_packet(&s->recv) : send_prepare(&s->send);
    F_WORKED;
    pthread_mutex_lock(&c->lock);
    s->status = status;
    if (status != MULTIFD_OK) c->status = status;
    s->is_done = 1;
    pthread_cond_broadcast(&c->change);
    pthread_mutex_unlock(&c->lock);
    F_TOLD;
    pthread_mutex_lock(&c->lock);
  }
  pthread_mutex_unlock(&c->lock);
  return NULL;
}

static void post(Channel *c, Slot *s) {
  pthread_mutex_lock(&c->lock);
  s->is_done = 0;
  s->is_queued = 1;
  s->text = NULL;
  c->last = (uint32_t)(s - c->slots);
  pthread_cond_broadcast(&c->change);
  pthread_mutex_unlock(&c->lock);
}

#ifndef F_WAIT
#define F_WAIT while (!s->is_done) pthread_cond_wait(&c->change, &c->lock)
#endif
static void await(Channel *c, Slot *s) {
  pthread_mutex_lock(&c->lock);
  F_WAIT;
  pthread_mutex_unlock(&c->lock);
}

/* The channel's own failure text is told by the thread that is inside the callback. */
static int32_t ended(Channel *c, Slot *s) {
  const int32_t status = F_STATUS;
  if (status != MULTIFD_OK)
    c->services->error(c->channel, s->text != NULL ? s->text : "a packet in flight has failed");
  return status;
}

static void close_channel(Channel *c) {
  if (c == NULL) return;
  F_CLOSE;
  pthread_mutex_lock(&c->lock);
  c->is_closing = 1;
  pthread_cond_broadcast(&c->change);
  pthread_mutex_unlock(&c->lock);
  for (int i = 0; i < c->threads_num; i++) F_JOIN(c->threads[i]);
  for (int i = 0; i < SLOTS; i++) {
    send_cleanup(&c->slots[i].send);
    recv_cleanup(&c->slots[i].recv);
    FREE(c, c->slots[i].payload);
  }
  FREE(c, c);
}

#define OPEN_CHANNEL(p, side, setup_side)                                                     \
  Channel *c = ALLOC(p, sizeof *c);                                                           \
  if (c == NULL) return no_memory(p);                                                         \
  memset(c, 0, sizeof *c);                                                                    \
  (p)->compress_data = c;                                                                     \
  c->services = (p)->services;                                                                \
  c->channel = (p)->channel;                                                                  \
  c->shadow = (MultiFDServices){sizeof c->shadow, MULTIFD_ABI_MAJOR, MULTIFD_ABI_MINOR,       \
    shadow_read, NULL, NULL, shadow_error, shadow_alloc, shadow_free};                        \
  pthread_mutex_init(&c->lock, NULL);                                                         \
  pthread_cond_init(&c->change, NULL);                                                        \
  for (int i = 0; i < SLOTS; i++) c->slots[i].channel = c;                                    \
  for (int i = 0; i < SLOTS; i++) {                                                           \
    Slot *s = &c->slots[i];                                                                   \
    s->side = *(p);                                                                           \
    s->side.compress_data = NULL;                                                             \
    s->send.services = s->recv.services = &c->shadow;                                         \
    s->send.channel = s->recv.channel = (MultiFDChannel *)s;                                  \
    const int32_t status = setup_side(&s->side);                                              \
    if (status != MULTIFD_OK) return no_memory(p);                                            \
  }                                                                                           \
  for (; c->threads_num < 2; c->threads_num++) {                                              \
    sigset_t all, before;                                                                     \
    sigfillset(&all);                                                                         \
    sigdelset(&all, SIGSEGV);                                                                 \
    sigdelset(&all, SIGBUS);                                                                  \
    sigdelset(&all, SIGABRT);                                                                 \
    pthread_sigmask(SIG_SETMASK, &all, &before);                                              \
    const int wrong = pthread_create(&c->threads[c->threads_num], NULL, work, c);             \
    pthread_sigmask(SIG_SETMASK, &before, NULL);                                              \
    if (wrong) return no_memory(p);                                                           \
  }

static int32_t flight_send_setup(MultiFDSendParams *p) {
  OPEN_CHANNEL(p, send, send_setup);
  return MULTIFD_OK;
}
static void flight_send_cleanup(MultiFDSendParams *p) {
  close_channel(p->compress_data);
  p->compress_data = NULL;
}
static int32_t flight_recv_setup(MultiFDRecvParams *p) {
  OPEN_CHANNEL(p, recv, recv_setup);
  c->receives = 1;
  for (int i = 0; i < SLOTS; i++) {
    c->slots[i].payload = ALLOC(p, BUFFER_SIZE(p));
    if (c->slots[i].payload == NULL) return no_memory(p);
  }
  return MULTIFD_OK;
}
static void flight_recv_cleanup(MultiFDRecvParams *p) {
  close_channel(p->compress_data);
  p->compress_data = NULL;
}

#define TAKE(side, packet)                           \
  s->side.packet_num = (packet)->packet_num;         \
  s->side.host = (packet)->host;                     \
  s->side.normal = (packet)->normal;                 \
  s->side.zero = (packet)->zero;                     \
  s->side.normal_num = (packet)->normal_num;         \
  s->side.zero_num = (packet)->zero_num;             \
  s->side.flags = (packet)->flags;                   \
  s->side.reference = (packet)->reference

static int32_t send_submit(MultiFDSendParams *p, MultiFDSendPacket *packet) {
  Channel *c = p->compress_data;
  Slot *s = &c->slots[F_SLOT(packet)];
  TAKE(send, packet);
  s->send.iov = packet->iov;
  s->send.iovs_num = s->send.next_packet_size = 0;
  F_SUBMIT;
  c->in_flight++;
  post(c, s);
  F_SUBMITTED;
  return MULTIFD_OK;
}

static int32_t send_complete(MultiFDSendParams *p, MultiFDSendPacket *packet) {
  Channel *c = p->compress_data;
  Slot *s = &c->slots[F_SLOT(packet)];
  F_COMPLETE;
  await(c, s);
  c->in_flight--;
  packet->iovs_num = s->send.iovs_num;
  packet->next_packet_size = s->send.next_packet_size;
  packet->iov[0].iov_base = F_BUFFER(c, s);
  F_COMPLETED;
  return ended(c, s);
}

static int32_t recv_submit(MultiFDRecvParams *p, MultiFDRecvPacket *packet) {
  Channel *c = p->compress_data;
  Slot *s = &c->slots[F_SLOT(packet)];
  TAKE(recv, packet);
  s->recv.next_packet_size = packet->next_packet_size;
  s->at = 0;
  if (packet->next_packet_size > BUFFER_SIZE(p)) return corrupt(p, "the payload is too long");
  const int32_t status = F_READ(p, s, packet->next_packet_size);
  if (status != MULTIFD_OK) return status;
  c->in_flight++;
  post(c, s);
  return MULTIFD_OK;
}

static int32_t recv_complete(MultiFDRecvParams *p, MultiFDRecvPacket *packet) {
  Channel *c = p->compress_data;
  Slot *s = &c->slots[F_SLOT(packet)];
  F_FIND;
  await(c, s);
  c->in_flight--;
  return ended(c, s);
}

#ifndef MAX_IN_FLIGHT
#define MAX_IN_FLIGHT SLOTS
#endif
#ifndef SUBMITS
#define SUBMITS send_submit, send_complete, recv_submit, recv_complete
#endif
static const MultiFDMethods flight_table = {
  MAGIC, MAJOR, MINOR, STRUCT_SIZE, CAPS, NAME, VERSION, FORMAT, DESCRIPTION, QEMU_METHOD, MAX_IN_FLIGHT, OPTIONS,
  payload_bound, flight_send_setup, flight_send_cleanup, NULL, flight_recv_setup, flight_recv_cleanup, NULL, SUBMITS};

const MultiFDMethods *multifd_plugin_entry(uint32_t host_major) {
  ON_ENTRY;
  return &flight_table;
}
