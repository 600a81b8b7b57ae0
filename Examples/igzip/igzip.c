/* igzip: QEMU's zlib wire format by ISA-L, which deflates several times as fast as zlib. README.md says what it is
 * good for, and where the format comes from; multifd_plugin.h is the contract.
 *
 * The format, `zlib/1`: one endless deflate stream per channel. A zlib header comes before the first packet's
 * data, a sync flush (an empty stored block, which ends in 00 00 ff ff) after every packet's, and the stream
 * never ends. Matches reach back into earlier packets of the channel, at most 32 KiB. */
#include <multifd_plugin.h>

#include <isa-l.h>
#include <string.h>

/* Pages are copied into a buffer of this size, and deflated there. ISA-L looks at its input more than once, so
 * a page that the guest changes meanwhile would end in a match with bytes that the receiver never saw. Large
 * enough for ISA-L's full speed (4 KiB cost a quarter of it), small enough for the second-level cache. */
enum { PIECE = 64 * 1024 };

/* Says why a callback fails, once, and gives the status to return. */
#define FAIL(params, status, text) ((params)->services->error((params)->channel, (text)), (status))

/* The most that this format's encoders make of pages, and so the most that a receiver has to take. It is the
 * format's bound and not ISA-L's: a peer may well be zlib.
 *
 * n/8: every byte a literal of 9 bits, the longest of the fixed code. n/64: the 5 bytes of each stored block, were
 * they as short as 320 bytes. 16 a page: a peer may flush after each page. 64: header and flush. 600,128 bytes
 * for QEMU's packets, which is well within MULTIFD_QEMU_MAX_PAYLOAD. */
static uint64_t payload_bound(uint32_t page_size, uint32_t page_count) {
  if (page_size < 4096 || page_size > 1u << 30 || (page_size & (page_size - 1)) != 0) return 0;
  uint64_t n = (uint64_t)page_size * page_count;
  return n == 0 ? 0 : n + n / 8 + n / 64 + 16 * (uint64_t)page_count + 64;
}

/* ---- Send ------------------------------------------------------------------------------------ */

typedef struct {
  struct isal_zstream stream; /* first: it wants a cache line's alignment */
  uint8_t *level_buf;         /* what levels 1 to 3 work in */
  uint8_t *piece;             /* PIECE bytes */
  uint8_t *payload;           /* `bound` bytes, so that no payload can be larger */
  uint64_t bound;
} Sender;

static const uint32_t level_buf_sizes[] = {
    ISAL_DEF_LVL0_DEFAULT,
    ISAL_DEF_LVL1_DEFAULT,
    ISAL_DEF_LVL2_DEFAULT,
    ISAL_DEF_LVL3_DEFAULT,
};

static int32_t send_setup(MultiFDSendParams *p) {
  uint64_t bound = payload_bound(p->page_size, p->page_count);
  if (bound == 0 || bound > UINT32_MAX)
    return FAIL(p, MULTIFD_ERROR_UNSUPPORTED, "packets of this size are not supported");
  Sender *sender = p->services->alloc(p->channel, sizeof *sender, 64);
  if (!sender) return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");
  memset(sender, 0, sizeof *sender);
  p->compress_data = sender; /* from here on send_cleanup() finds it, also when this function fails */

  uint32_t level = (uint32_t)p->options[0].number; /* 0 to 3: the host has checked it */
  uint32_t level_buf_size = level_buf_sizes[level];
  sender->bound = bound;
  sender->payload = p->services->alloc(p->channel, bound, 64);
  sender->piece = p->services->alloc(p->channel, PIECE, 64);
  if (level_buf_size) sender->level_buf = p->services->alloc(p->channel, level_buf_size, 64);
  if (!sender->payload || !sender->piece || (level_buf_size && !sender->level_buf))
    return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");

  isal_deflate_init(&sender->stream);
  sender->stream.level = level;
  sender->stream.level_buf = sender->level_buf;
  sender->stream.level_buf_size = level_buf_size;
  sender->stream.gzip_flag = IGZIP_ZLIB;
  /* Level 0 has no code of its own for each block. ISA-L's stock table has literals of up to 11 bits, and would
   * make more of random pages than the format's receivers expect; the fixed code of deflate has 9. */
  if (level == 0) isal_deflate_set_hufftables(&sender->stream, NULL, IGZIP_HUFFTABLE_STATIC);
  return MULTIFD_OK;
}

static void send_cleanup(MultiFDSendParams *p) {
  Sender *sender = p->compress_data;
  if (!sender) return;
  p->services->free(p->channel, sender->level_buf);
  p->services->free(p->channel, sender->piece);
  p->services->free(p->channel, sender->payload);
  p->services->free(p->channel, sender);
  p->compress_data = NULL;
}

/* Feeds `size` bytes of `piece` to the stream. False when there is no room for what comes out. */
static int deflate_piece(Sender *sender, uint32_t size, int last) {
  struct isal_zstream *stream = &sender->stream;
  stream->next_in = sender->piece;
  stream->avail_in = size;
  stream->flush = last ? SYNC_FLUSH : NO_FLUSH;
  if (isal_deflate(stream) != COMP_OK || stream->avail_in != 0 || stream->avail_out == 0) return 0;
  /* Behind a flush the stream stands before a new block; anywhere else, something is held back. */
  return !last || stream->internal_state.state == ZSTATE_NEW_HDR;
}

static int32_t send_prepare(MultiFDSendParams *p) {
  Sender *sender = p->compress_data;
  struct isal_zstream *stream = &sender->stream;
  p->iovs_num = 0;
  p->next_packet_size = 0;
  if (p->normal_num == 0) return MULTIFD_OK;

  stream->next_out = sender->payload;
  stream->avail_out = (uint32_t)sender->bound;
  uint32_t filled = 0;
  for (uint32_t i = 0; i < p->normal_num; i++) {
    for (uint32_t at = 0; at < p->page_size;) {
      /* The part of a page that fits into the piece. Both sizes are powers of two from 4 KiB. */
      uint32_t part = p->page_size < PIECE ? p->page_size : PIECE;
      memcpy(sender->piece + filled, p->host + p->normal[i] + at, part);
      filled += part;
      at += part;
      int last = i + 1 == p->normal_num && at == p->page_size;
      if (filled < PIECE && !last) continue;
      if (!deflate_piece(sender, filled, last))
        return FAIL(p, MULTIFD_ERROR_INTERNAL, "ISA-L needs more room than payload_bound() says");
      filled = 0;
    }
  }
  p->iov[0].iov_base = sender->payload;
  p->iov[0].iov_len = sender->bound - stream->avail_out;
  p->iovs_num = 1;
  p->next_packet_size = (uint32_t)p->iov[0].iov_len;
  return MULTIFD_OK;
}

/* ---- Receive --------------------------------------------------------------------------------- */

typedef struct {
  struct inflate_state stream; /* with a window of its own: guest pages are never read back */
  uint8_t *payload;            /* `bound` bytes */
  uint64_t bound;
} Receiver;

static int32_t recv_setup(MultiFDRecvParams *p) {
  uint64_t bound = payload_bound(p->page_size, p->page_count);
  if (bound == 0 || bound > UINT32_MAX)
    return FAIL(p, MULTIFD_ERROR_UNSUPPORTED, "packets of this size are not supported");
  Receiver *receiver = p->services->alloc(p->channel, sizeof *receiver, 64);
  if (!receiver) return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");
  memset(receiver, 0, sizeof *receiver);
  p->compress_data = receiver;
  receiver->bound = bound;
  receiver->payload = p->services->alloc(p->channel, bound, 64);
  if (!receiver->payload) return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");
  isal_inflate_init(&receiver->stream);
  receiver->stream.crc_flag = ISAL_ZLIB;
  return MULTIFD_OK;
}

static void recv_cleanup(MultiFDRecvParams *p) {
  Receiver *receiver = p->compress_data;
  if (!receiver) return;
  p->services->free(p->channel, receiver->payload);
  p->services->free(p->channel, receiver);
  p->compress_data = NULL;
}

/* Inflates until `size` bytes are out, or nothing more comes. NULL, or what is wrong with the stream. It writes at
 * most `size` bytes at `out`, whatever the payload says. */
static const char *inflate_into(struct inflate_state *stream, uint8_t *out, uint32_t size) {
  stream->next_out = out;
  stream->avail_out = size;
  for (;;) {
    uint32_t in_before = stream->avail_in, out_before = stream->avail_out;
    switch (isal_inflate(stream)) {
      case ISAL_DECOMP_OK:
      case ISAL_END_INPUT:
      case ISAL_OUT_OVERFLOW:
        break;
      case ISAL_NEED_DICT:
        return "the stream wants a preset dictionary";
      case ISAL_INVALID_BLOCK:
        return "a block that deflate does not have";
      case ISAL_INVALID_SYMBOL:
        return "a symbol that deflate does not have";
      case ISAL_INVALID_LOOKBACK:
        return "a match reaches back before the start of the stream";
      case ISAL_INVALID_WRAPPER:
      case ISAL_UNSUPPORTED_METHOD:
        return "the stream does not begin with a zlib header";
      case ISAL_INCORRECT_CHECKSUM:
        return "the stream ends, and its checksum is wrong";
      default:
        return "not a deflate stream";
    }
    if (stream->block_state == ISAL_BLOCK_FINISH || stream->block_state == ISAL_BLOCK_INPUT_DONE ||
        stream->block_state == ISAL_CHECKSUM_CHECK)
      return "the deflate stream ends, which it never does in a migration";
    /* Every round uses up input or output, so there is an end to them. */
    if (stream->avail_out == 0) return NULL;
    if (stream->avail_in == in_before && stream->avail_out == out_before) return NULL;
  }
}

static int32_t recv_packet(MultiFDRecvParams *p) {
  static const uint8_t flush[] = {0x00, 0x00, 0xff, 0xff};
  Receiver *receiver = p->compress_data;
  struct inflate_state *stream = &receiver->stream;
  uint32_t size = p->next_packet_size;
  if (p->normal_num == 0)
    return size == 0 ? MULTIFD_OK : FAIL(p, MULTIFD_ERROR_CORRUPT, "a payload without pages");
  if (size < sizeof flush || size > receiver->bound)
    return FAIL(p, MULTIFD_ERROR_CORRUPT, "the payload's size is not one that zlib/1 can have");
  int32_t status = p->services->read(p->channel, receiver->payload, size);
  if (status != MULTIFD_OK) return status; /* the host knows why */
  if (memcmp(receiver->payload + size - sizeof flush, flush, sizeof flush) != 0)
    return FAIL(p, MULTIFD_ERROR_CORRUPT, "the payload does not end with a flush");

  stream->next_in = receiver->payload;
  stream->avail_in = size;
  for (uint32_t i = 0; i < p->normal_num; i++) {
    const char *wrong = inflate_into(stream, p->host + p->normal[i], p->page_size);
    if (!wrong && stream->avail_out != 0) wrong = "the payload ends before its last page";
    if (wrong) return FAIL(p, MULTIFD_ERROR_CORRUPT, wrong);
  }
  /* What follows the last byte of the last page is the flush. There is room for one byte, so that a byte too many
   * shows here and not in the next packet. */
  uint8_t surplus;
  const char *wrong = inflate_into(stream, &surplus, 1);
  if (!wrong && stream->avail_out == 0) wrong = "the payload is more than its pages";
  /* Between two blocks, with no bit left over: the state that every packet begins in. */
  if (!wrong && (stream->avail_in != 0 || stream->read_in_length != 0 || stream->tmp_in_size != 0 ||
                 (stream->block_state != ISAL_BLOCK_NEW_HDR && stream->block_state != ISAL_BLOCK_HDR)))
    wrong = "the payload does not end with a flush";
  return wrong ? FAIL(p, MULTIFD_ERROR_CORRUPT, wrong) : MULTIFD_OK;
}

/* ---- The table ------------------------------------------------------------------------------- */

static const MultiFDOption options[] = {{
    .name = "level",
    .help = "effort: 0 is the fastest, 3 the smallest",
    .default_value = "1",
    .minimum = ISAL_DEF_MIN_LEVEL,
    .maximum = ISAL_DEF_MAX_LEVEL,
    .type = MULTIFD_OPTION_INT,
}};

/* Not MULTIFD_CAP_DETERMINISTIC: ISA-L chooses its code, and with it its matches, by the processor it runs on. */
static const MultiFDMethods table = {
    MULTIFD_METHODS_HEAD,
    .capabilities = MULTIFD_CAP_STATEFUL,
    .name = "igzip",
    .version = "1.0.0",
    .wire_format = "zlib/1",
    .description = "QEMU's zlib by ISA-L, several times as fast",
    .qemu_method = MULTIFD_QEMU_METHOD_ZLIB,
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
