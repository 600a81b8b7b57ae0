/* A small good backend, every part of which a file of this folder can spoil: define what is to be different,
 * then include this. The first line of each file names the tests that must catch it, and no other may.
 *
 * Payload: for each page a byte that says how it is told, then
 *   0  the page as it is
 *   1  runs: a byte of length - 1 and a byte of value, until the page is full
 * With STATEFUL the payload starts with the number of the channel's packet, modulo 256.
 * With REFERENCE a page that has one is its XOR with it, told by
 *   2  as 0
 *   3  as 1 */
#include "prelude.h"

/* ---- what can be different ---- */

#ifndef BACKEND_NAME
#error "compile with -DBACKEND_NAME=\"...\", the name in the file name"
#endif
#ifndef NAME
#define NAME BACKEND_NAME
#endif
#ifndef VERSION
#define VERSION "1.0.0"
#endif
#ifndef FORMAT
#define FORMAT "sample/1"
#endif
#ifndef DESCRIPTION
#define DESCRIPTION "runs of bytes"
#endif
#ifndef MAGIC
#define MAGIC MULTIFD_PLUGIN_MAGIC
#endif
#ifndef MAJOR
#define MAJOR MULTIFD_ABI_MAJOR
#endif
#ifndef MINOR
#define MINOR MULTIFD_ABI_MINOR
#endif
#ifndef STRUCT_SIZE
#define STRUCT_SIZE sizeof(MultiFDMethods)
#endif
#ifndef CAPS
#ifdef STATEFUL
#define CAPS (MULTIFD_CAP_STATEFUL | MULTIFD_CAP_DETERMINISTIC)
#elif defined REFERENCE
#define CAPS (MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC | MULTIFD_CAP_REFERENCE)
#else
#define CAPS (MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC)
#endif
#endif
#ifndef QEMU_METHOD
#define QEMU_METHOD MULTIFD_QEMU_METHOD_UNKNOWN
#endif
#ifndef IN_FLIGHT
#define IN_FLIGHT 0
#endif
#ifndef OPTIONS
#define OPTIONS options, sizeof options / sizeof *options, sizeof *options
static const MultiFDOption options[] = {
  {"level", "how hard it tries", "1", NULL, 0, 9, MULTIFD_OPTION_INT, 0},
};
#endif
#ifndef HEADER_SIZE
#ifdef STATEFUL
#define HEADER_SIZE 1
#else
#define HEADER_SIZE 0
#endif
#endif
#ifndef BOUND
#define BOUND(size, count) \
  ((count) == 0 ? 0 : (uint64_t)(count) * ((uint64_t)(size) + 1) + HEADER_SIZE)
#endif

/* Statements at certain places. In setup, prepare, recv and cleanup `p` is the params, in all but setup `s` is
 * the state. */
#ifndef ON_LOAD
#define ON_LOAD
#endif
#ifndef ON_ENTRY
#define ON_ENTRY if (host_major != MULTIFD_ABI_MAJOR) return NULL
#endif
#ifndef ON_SETUP /* both sides, when the state is there */
#define ON_SETUP
#endif
#ifndef ON_SEND_SETUP
#define ON_SEND_SETUP
#endif
#ifndef ON_PREPARE /* before a packet is encoded */
#define ON_PREPARE
#endif
#ifndef ON_PREPARED /* when iov, iovs_num and next_packet_size are set */
#define ON_PREPARED
#endif
#ifndef ON_RECV /* before the payload is read */
#define ON_RECV
#endif
#ifndef ON_PAYLOAD /* when it has been read: `in`, `end` */
#define ON_PAYLOAD
#endif
#ifndef ON_RECEIVED /* when all pages are there */
#define ON_RECEIVED
#endif
#ifndef ON_CORRUPT /* before a refusal */
#define ON_CORRUPT
#endif
#ifndef ON_CLEANUP /* before the state goes */
#define ON_CLEANUP
#endif
#ifndef ON_SHORT /* the payload ends too early */
#define ON_SHORT return corrupt(p, "the payload ends too early")
#endif
#ifndef ON_LONG /* something is behind the last page */
#define ON_LONG return corrupt(p, "something is behind the last page")
#endif
#ifndef ON_OVERRUN /* a run is longer than its page */
#define ON_OVERRUN return corrupt(p, "a run is longer than its page")
#endif
#ifndef ON_READ_FAILURE
#define ON_READ_FAILURE return status
#endif
#ifndef NO_MEMORY
#define NO_MEMORY return no_memory(p)
#endif
#ifndef CORRUPT_STATUS
#define CORRUPT_STATUS MULTIFD_ERROR_CORRUPT
#endif
#ifndef CORRUPT_TEXT
#define CORRUPT_TEXT text
#endif
#ifndef OFFSET
#define OFFSET(value) (value)
#endif
/* Where the reference of page i is: both sides, and each of them. */
#ifndef REFERENCE_PAGE
#define REFERENCE_PAGE(p, i) ((p)->reference + (p)->normal[i])
#endif
#ifndef SENT_REFERENCE
#define SENT_REFERENCE(p, i) REFERENCE_PAGE(p, i)
#endif
#ifndef RECEIVED_REFERENCE
#define RECEIVED_REFERENCE(p, i) REFERENCE_PAGE(p, i)
#endif
#ifndef ON_NO_REFERENCE /* a page differs from a reference that there is not */
#define ON_NO_REFERENCE return corrupt(p, "there is no reference")
#endif

/* ---- the backend ---- */

typedef struct {
  uint8_t *buffer; /* a whole payload */
  uint8_t *page;
  uint32_t number;
  uint32_t setups; /* how many channels there were before */
  void *extra;     /* of the file that includes this */
  const uint8_t *reference; /* of the page that is encoded, or NULL */
} State;

static _Atomic uint32_t setup_count;

__attribute__((constructor)) static void loaded(void) { ON_LOAD; }

static uint64_t payload_bound(uint32_t page_size, uint32_t page_count) {
  return BOUND(page_size, page_count);
}

#define no_memory(p) \
  ((p)->services->error((p)->channel, "out of memory"), MULTIFD_ERROR_NO_MEMORY)

static int32_t corrupt(MultiFDRecvParams *p, const char *text) {
  ON_CORRUPT;
  if (CORRUPT_TEXT != NULL) p->services->error(p->channel, CORRUPT_TEXT);
  return CORRUPT_STATUS;
}

#ifndef ALLOC
#define ALLOC(p, size) (p)->services->alloc((p)->channel, (size), 64)
#define FREE(p, pointer) (p)->services->free((p)->channel, (pointer))
#endif
#ifndef BUFFER_SIZE
#define BUFFER_SIZE(p) (BOUND((p)->page_size, (p)->page_count))
#endif

#define SETUP(p)                                                  \
  State *s = ALLOC(p, sizeof *s);                                 \
  if (s == NULL) NO_MEMORY;                                       \
  memset(s, 0, sizeof *s);                                        \
  (p)->compress_data = s;                                         \
  s->buffer = ALLOC(p, BUFFER_SIZE(p));                           \
  s->page = ALLOC(p, (p)->page_size);                             \
  if (s->buffer == NULL || s->page == NULL) NO_MEMORY;            \
  s->setups = atomic_fetch_add(&setup_count, 1);                  \
  ON_SETUP

#define CLEANUP(p)                                                \
  State *s = (p)->compress_data;                                  \
  if (s != NULL) {                                                \
    ON_CLEANUP;                                                   \
    FREE(p, s->buffer);                                           \
    FREE(p, s->page);                                             \
    FREE(p, s);                                                   \
    (p)->compress_data = NULL;                                    \
  }

#ifndef SEND_SETUP
#define SEND_SETUP send_setup
#endif
static int32_t send_setup(MultiFDSendParams *p) {
  SETUP(p);
  ON_SEND_SETUP;
  return MULTIFD_OK;
}

#ifndef SEND_CLEANUP
#define SEND_CLEANUP send_cleanup
#endif
static void send_cleanup(MultiFDSendParams *p) { CLEANUP(p); }

#ifndef RECV_SETUP
#define RECV_SETUP recv_setup
#endif
static int32_t recv_setup(MultiFDRecvParams *p) {
  SETUP(p);
  return MULTIFD_OK;
}

#ifndef RECV_CLEANUP
#define RECV_CLEANUP recv_cleanup
#endif
static void recv_cleanup(MultiFDRecvParams *p) { CLEANUP(p); }

static inline void exclusive_or(uint8_t *page, const uint8_t *reference, uint32_t size) {
  for (uint32_t i = 0; i < size; i++) page[i] ^= reference[i];
}

/* The guest may write to `page` meanwhile: it is read once. */
#ifndef ENCODE_PAGE
#define ENCODE_PAGE encode_page
#endif
static uint8_t *encode_page(State *s, uint8_t *out, const uint8_t *page, uint32_t size) {
  memcpy(s->page, page, size);
  if (s->reference != NULL) exclusive_or(s->page, s->reference, size);
  uint8_t *start = out, *limit = out + size;
  *out++ = s->reference != NULL ? 3 : 1;
  for (uint32_t i = 0; i < size;) {
    uint32_t run = 1;
    while (run < 256 && i + run < size && s->page[i + run] == s->page[i]) run++;
    if (out + 2 > limit) { /* no smaller than the page */
      *start -= 1;
      memcpy(start + 1, s->page, size);
      return start + 1 + size;
    }
    *out++ = (uint8_t)(run - 1);
    *out++ = s->page[i];
    i += run;
  }
  return out;
}

#ifndef SEND_PREPARE
#define SEND_PREPARE send_prepare
#endif
static int32_t send_prepare(MultiFDSendParams *p) {
  State *s = p->compress_data;
  ON_PREPARE;
  uint8_t *out = s->buffer;
#ifdef STATEFUL
  if (p->normal_num > 0) *out++ = (uint8_t)s->number++;
#endif
#ifdef HEADER
  if (p->normal_num > 0) HEADER(out);
#endif
  for (uint32_t i = 0; i < p->normal_num; i++) {
#ifdef REFERENCE
    s->reference = p->reference != NULL ? SENT_REFERENCE(p, i) : NULL;
#endif
    out = ENCODE_PAGE(s, out, p->host + OFFSET(p->normal[i]), p->page_size);
  }
#ifdef TRAILER
  if (p->normal_num > 0) TRAILER(out);
#endif
  p->next_packet_size = (uint32_t)(out - s->buffer);
  p->iovs_num = p->next_packet_size > 0;
  p->iov[0].iov_base = s->buffer;
  p->iov[0].iov_len = p->next_packet_size;
  ON_PREPARED;
  return MULTIFD_OK;
}

#ifndef READ_SIZE
#define READ_SIZE p->next_packet_size
#endif

#ifndef RECV
#define RECV recv_packet
#endif
static int32_t recv_packet(MultiFDRecvParams *p) {
  State *s = p->compress_data;
  ON_RECV;
  if (p->next_packet_size > BUFFER_SIZE(p)) return corrupt(p, "the payload is too long");
  const int32_t status = p->services->read(p->channel, s->buffer, READ_SIZE);
  if (status != MULTIFD_OK) ON_READ_FAILURE;
  const uint8_t *in = s->buffer, *end = in + p->next_packet_size;
  ON_PAYLOAD;
#ifdef STATEFUL
  if (p->normal_num > 0) {
    if (in == end) ON_SHORT;
    if (*in++ != (uint8_t)s->number++) return corrupt(p, "a packet is missing");
  }
#endif
#ifdef SKIP_HEADER
  if (p->normal_num > 0) SKIP_HEADER;
#endif
  for (uint32_t i = 0; i < p->normal_num; i++) {
    uint8_t *page = p->host + OFFSET(p->normal[i]);
    if (in == end) ON_SHORT;
    uint8_t kind = *in++;
#ifdef REFERENCE
    const int differs = kind == 2 || kind == 3;
    if (differs && p->reference == NULL) ON_NO_REFERENCE;
    if (differs) kind -= 2;
#endif
    if (kind == 0) {
      if ((size_t)(end - in) < p->page_size) ON_SHORT;
      memcpy(page, in, p->page_size);
      in += p->page_size;
    } else if (kind == 1) {
      for (uint32_t at = 0; at < p->page_size;) {
        if (end - in < 2) ON_SHORT;
        const uint32_t run = *in++ + 1u;
        if (run > p->page_size - at) ON_OVERRUN;
        memset(page + at, *in++, run);
        at += run;
      }
    } else {
      return corrupt(p, "a page of an unknown kind");
    }
#ifdef REFERENCE
    if (differs) exclusive_or(page, RECEIVED_REFERENCE(p, i), p->page_size);
#endif
  }
#ifdef SKIP_TRAILER
  if (p->normal_num > 0) SKIP_TRAILER;
#endif
  if (in != end) ON_LONG;
  ON_RECEIVED;
  return MULTIFD_OK;
}

#ifndef LATER /* what ABI 1.1 has appended: a comma, and members */
#define LATER
#endif
#ifndef TABLE
#define TABLE table
#endif
#ifndef TABLE_QUALIFIER
#define TABLE_QUALIFIER const
#endif
static TABLE_QUALIFIER MultiFDMethods table = {
  MAGIC, MAJOR, MINOR, STRUCT_SIZE, CAPS, NAME, VERSION, FORMAT, DESCRIPTION, QEMU_METHOD, IN_FLIGHT,
  OPTIONS, payload_bound, SEND_SETUP, SEND_CLEANUP, SEND_PREPARE, RECV_SETUP, RECV_CLEANUP, RECV
  LATER};

#ifndef NO_ENTRY
const MultiFDMethods *multifd_plugin_entry(uint32_t host_major) {
  ON_ENTRY;
  return (const MultiFDMethods *)&TABLE;
}
#endif
