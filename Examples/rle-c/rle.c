/* rle-c: run-length coding, about the smallest backend that compresses. The wire format is ../RLE.md, the
 * contract is multifd_plugin.h.
 *
 * Independent packets, no state between them: all that a channel keeps is memory to work in. */
#include <multifd_plugin.h>

#include <string.h>

enum { RAW = 0, RLE = 1 };            /* the first byte of a payload */
enum { MIN_RUN = 3, MAX_RUN = 130 };  /* what a token can repeat */
enum { MAX_LITERALS = 128 };          /* what a token can announce */
enum { PIECE = 4096 };                /* divides every page size */

/* ---- Common ---------------------------------------------------------------------------------- */

/* Says why a callback fails, once, and gives the status to return. */
#define FAIL(params, status, text) ((params)->services->error((params)->channel, (text)), (status))

static uint64_t payload_bound(uint32_t page_size, uint32_t page_count) {
  if (page_size < 4096 || page_size > 1u << 30 || (page_size & (page_size - 1)) != 0) return 0;
  return page_count == 0 ? 0 : 1 + (uint64_t)page_size * page_count;
}

/* ---- Send ------------------------------------------------------------------------------------ */

typedef struct {
  uint8_t *payload; /* payload_bound() bytes */
  size_t min_run;   /* the option */
  uint8_t piece[PIECE];
} Sender;

static int32_t send_setup(MultiFDSendParams *p) {
  uint64_t bound = payload_bound(p->page_size, p->page_count);
  if (bound == 0 || bound > UINT32_MAX)
    return FAIL(p, MULTIFD_ERROR_UNSUPPORTED, "packets of this size are not supported");
  Sender *sender = p->services->alloc(p->channel, sizeof *sender, 64);
  if (!sender) return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");
  sender->min_run = (size_t)p->options[0].number;
  sender->payload = NULL;
  p->compress_data = sender; /* from here on send_cleanup() finds it, also when this function fails */
  sender->payload = p->services->alloc(p->channel, bound, 64);
  if (!sender->payload) return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");
  return MULTIFD_OK;
}

static void send_cleanup(MultiFDSendParams *p) {
  Sender *sender = p->compress_data;
  if (!sender) return;
  p->services->free(p->channel, sender->payload);
  p->services->free(p->channel, sender);
  p->compress_data = NULL;
}

/* Appends literals to `out`, of which `room` bytes are free. Returns what it used; 0 when they do not fit. */
static size_t put_literals(uint8_t *out, size_t room, const uint8_t *in, size_t count) {
  size_t used = 0;
  while (count > 0) {
    size_t n = count < MAX_LITERALS ? count : MAX_LITERALS;
    if (room - used < 1 + n) return 0;
    out[used] = (uint8_t)(n - 1);
    memcpy(out + used + 1, in, n);
    used += 1 + n;
    in += n;
    count -= n;
  }
  return used;
}

/* The tokens of one piece. Returns what it used of `room`; 0 when they do not fit. */
static size_t encode(uint8_t *out, size_t room, const uint8_t in[PIECE], size_t min_run) {
  size_t used = 0, sent = 0, at = 0; /* in[sent ..< at] waits to go out as literals */
  while (at < PIECE) {
    size_t most = PIECE - at < MAX_RUN ? PIECE - at : MAX_RUN, run = 1;
    while (run < most && in[at + run] == in[at]) run++;
    if (run >= min_run) {
      if (at > sent) {
        size_t n = put_literals(out + used, room - used, in + sent, at - sent);
        if (n == 0) return 0;
        used += n;
      }
      if (room - used < 2) return 0;
      out[used++] = (uint8_t)(0x80 + run - MIN_RUN);
      out[used++] = in[at];
      sent = at + run;
    }
    at += run;
  }
  if (at > sent) {
    size_t n = put_literals(out + used, room - used, in + sent, at - sent);
    if (n == 0) return 0;
    used += n;
  }
  return used;
}

static int32_t send_prepare(MultiFDSendParams *p) {
  Sender *sender = p->compress_data;
  size_t raw = 1 + (size_t)p->page_size * p->normal_num, size = 1;
  p->iovs_num = 0;
  p->next_packet_size = 0;
  if (p->normal_num == 0) return MULTIFD_OK;

  sender->payload[0] = RLE;
  for (uint32_t i = 0; i < p->normal_num && size < raw; i++) {
    for (uint32_t at = 0; at < p->page_size && size < raw; at += PIECE) {
      /* The guest may be writing to its page: a piece is copied, so that encode() sees bytes that hold
       * still, each either old or new. 4 KiB stay in the first-level cache. */
      memcpy(sender->piece, p->host + p->normal[i] + at, PIECE);
      size_t n = encode(sender->payload + size, raw - size - 1, sender->piece, sender->min_run);
      size = n == 0 ? raw : size + n;
    }
  }
  if (size >= raw) { /* it would not get smaller */
    sender->payload[0] = RAW;
    for (uint32_t i = 0; i < p->normal_num; i++)
      memcpy(sender->payload + 1 + (size_t)i * p->page_size, p->host + p->normal[i], p->page_size);
    size = raw;
  }
  p->iov[0].iov_base = sender->payload;
  p->iov[0].iov_len = size;
  p->iovs_num = 1;
  p->next_packet_size = (uint32_t)size;
  return MULTIFD_OK;
}

/* ---- Receive --------------------------------------------------------------------------------- */

typedef struct {
  uint8_t *payload; /* payload_bound() bytes */
  uint64_t bound;
} Receiver;

static int32_t recv_setup(MultiFDRecvParams *p) {
  uint64_t bound = payload_bound(p->page_size, p->page_count);
  if (bound == 0 || bound > UINT32_MAX)
    return FAIL(p, MULTIFD_ERROR_UNSUPPORTED, "packets of this size are not supported");
  Receiver *receiver = p->services->alloc(p->channel, sizeof *receiver, 64);
  if (!receiver) return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");
  receiver->bound = bound;
  receiver->payload = NULL;
  p->compress_data = receiver;
  receiver->payload = p->services->alloc(p->channel, bound, 64);
  if (!receiver->payload) return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");
  return MULTIFD_OK;
}

static void recv_cleanup(MultiFDRecvParams *p) {
  Receiver *receiver = p->compress_data;
  if (!receiver) return;
  p->services->free(p->channel, receiver->payload);
  p->services->free(p->channel, receiver);
  p->compress_data = NULL;
}

/* Fills one page from the tokens at *in, and moves *in behind them. NULL, or what is wrong. */
static const char *decode(uint8_t *page, size_t page_size, const uint8_t **in, const uint8_t *end) {
  size_t filled = 0;
  while (filled < page_size) {
    if (*in == end) return "the payload ends before its last page";
    uint8_t token = *(*in)++;
    size_t n = token < 0x80 ? (size_t)token + 1 : (size_t)token - 0x80 + MIN_RUN;
    size_t follows = token < 0x80 ? n : 1;
    if (n > page_size - filled) return "a token reaches across the end of a page";
    if (follows > (size_t)(end - *in)) return "the payload ends within a token";
    if (token < 0x80)
      memcpy(page + filled, *in, n);
    else
      memset(page + filled, **in, n);
    *in += follows;
    filled += n;
  }
  return NULL;
}

static int32_t recv_packet(MultiFDRecvParams *p) {
  Receiver *receiver = p->compress_data;
  size_t size = p->next_packet_size, pages = (size_t)p->page_size * p->normal_num;
  if (p->normal_num == 0)
    return size == 0 ? MULTIFD_OK : FAIL(p, MULTIFD_ERROR_CORRUPT, "a payload without pages");
  if (size < 2 || size > receiver->bound)
    return FAIL(p, MULTIFD_ERROR_CORRUPT, "the payload's size is not one that rle/1 can have");

  uint8_t first;
  int32_t status = p->services->read(p->channel, &first, 1);
  if (status != MULTIFD_OK) return status; /* the host knows why */
  if (first == RAW) {
    if (size != 1 + pages)
      return FAIL(p, MULTIFD_ERROR_CORRUPT, "a raw payload has not the size of its pages");
    for (uint32_t i = 0; i < p->normal_num; i++) {
      status = p->services->read(p->channel, p->host + p->normal[i], p->page_size);
      if (status != MULTIFD_OK) return status;
    }
    return MULTIFD_OK;
  }
  if (first != RLE) return FAIL(p, MULTIFD_ERROR_CORRUPT, "the payload is neither RAW nor RLE");

  status = p->services->read(p->channel, receiver->payload, size - 1);
  if (status != MULTIFD_OK) return status;
  const uint8_t *in = receiver->payload, *end = in + (size - 1);
  for (uint32_t i = 0; i < p->normal_num; i++) {
    const char *wrong = decode(p->host + p->normal[i], p->page_size, &in, end);
    if (wrong) return FAIL(p, MULTIFD_ERROR_CORRUPT, wrong);
  }
  if (in != end) return FAIL(p, MULTIFD_ERROR_CORRUPT, "the payload is more than its pages");
  return MULTIFD_OK;
}

/* ---- The table ------------------------------------------------------------------------------- */

static const MultiFDOption options[] = {{
    .name = "min-run",
    .help = "shortest run of equal bytes that becomes a token",
    .default_value = "4",
    .minimum = MIN_RUN,
    .maximum = MAX_RUN,
    .type = MULTIFD_OPTION_INT,
}};

static const MultiFDMethods table = {
    MULTIFD_METHODS_HEAD,
    .capabilities = MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC,
    .name = "rle-c",
    .version = "1.0.0",
    .wire_format = "rle/1",
    .description = "run-length coding, an example in C",
    .qemu_method = MULTIFD_QEMU_METHOD_UNKNOWN,
    .options = options,
    .options_num = sizeof options / sizeof options[0],
    .option_size = sizeof options[0],
    .payload_bound = payload_bound,
    .send_setup = send_setup,
    .send_cleanup = send_cleanup,
    .send_prepare = send_prepare,
    .recv_setup = recv_setup,
    .recv_cleanup = recv_cleanup,
    .recv = recv_packet,
};

const MultiFDMethods *multifd_plugin_entry(uint32_t host_major) {
  return host_major == MULTIFD_ABI_MAJOR ? &table : NULL;
}
