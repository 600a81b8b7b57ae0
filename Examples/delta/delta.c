/* delta: pages against what the receiver has for them already. A page that has a reference goes out as the XOR
 * with it, which is zeroes but for what the guest has changed, and LZ4 makes next to nothing of zeroes. A page
 * without one goes through LZ4 as it is. README.md specifies the wire format, `delta-lz4/1`; the contract is
 * multifd_plugin.h.
 *
 * Independent packets, no state between them: all that a channel keeps is memory to work in. */
#include <multifd_plugin.h>

#include <lz4.h>
#include <string.h>

/* The pages of a packet, one behind the other, are cut into chunks, and sixteen chunks make a segment, which is
 * as far as LZ4 looks back. A chunk divides every page size, so none reaches across the end of a page. */
enum { CHUNK = 4096, CHUNKS = 16, SEGMENT = CHUNKS * CHUNK };

/* What the table has for each segment: the length of its body, and a bit for each chunk that is an XOR. */
enum { ENTRY = 4 };

/* Says why a callback fails, once, and gives the status to return. */
#define FAIL(params, status, text) ((params)->services->error((params)->channel, (text)), (status))

/* ---- Common ---------------------------------------------------------------------------------- */

static uint64_t segments_of(uint64_t bytes) { return (bytes + SEGMENT - 1) / SEGMENT; }

/* A body is never longer than its segment. */
static uint64_t payload_bound(uint32_t page_size, uint32_t page_count) {
  if (page_size < 4096 || page_size > 1u << 30 || (page_size & (page_size - 1)) != 0) return 0;
  uint64_t bytes = (uint64_t)page_size * page_count;
  return bytes + segments_of(bytes) * ENTRY;
}

/* Where chunk `number` of the packet lies, in the block and in the image that is its reference. */
static uint64_t offset_of(const uint64_t *normal, uint32_t page_size, uint64_t number) {
  uint64_t chunks = page_size / CHUNK;
  return normal[number / chunks] + number % chunks * CHUNK;
}

/* How many chunks segment `number` has, of all that there are: the last may have fewer. */
static uint32_t chunks_of(uint64_t number, uint64_t all) {
  uint64_t left = all - number * CHUNKS;
  return left < CHUNKS ? (uint32_t)left : CHUNKS;
}

/* The reference never changes during a call, and `chunk` is always memory of ours: they do not overlap. */
static void exclusive_or(uint8_t *restrict chunk, const uint8_t *restrict reference) {
  for (size_t at = 0; at < CHUNK; at++) chunk[at] ^= reference[at];
}

/* ---- Send ------------------------------------------------------------------------------------ */

typedef struct {
  uint8_t *payload; /* payload_bound() bytes */
  uint8_t *segment; /* SEGMENT bytes */
  void *lz4;        /* what LZ4 works in */
  int acceleration; /* the option */
} Sender;

static int32_t send_setup(MultiFDSendParams *p) {
  uint64_t bound = payload_bound(p->page_size, p->page_count);
  if (bound == 0 || bound > UINT32_MAX)
    return FAIL(p, MULTIFD_ERROR_UNSUPPORTED, "packets of this size are not supported");
  Sender *sender = p->services->alloc(p->channel, sizeof *sender, 64);
  if (!sender) return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");
  memset(sender, 0, sizeof *sender);
  p->compress_data = sender; /* from here on send_cleanup() finds it, also when this function fails */
  sender->acceleration = (int)p->options[0].number;
  sender->payload = p->services->alloc(p->channel, bound, 64);
  sender->segment = p->services->alloc(p->channel, SEGMENT, 64);
  sender->lz4 = p->services->alloc(p->channel, (size_t)LZ4_sizeofState(), 64);
  if (!sender->payload || !sender->segment || !sender->lz4)
    return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");
  return MULTIFD_OK;
}

static void send_cleanup(MultiFDSendParams *p) {
  Sender *sender = p->compress_data;
  if (!sender) return;
  p->services->free(p->channel, sender->lz4);
  p->services->free(p->channel, sender->segment);
  p->services->free(p->channel, sender->payload);
  p->services->free(p->channel, sender);
  p->compress_data = NULL;
}

/* Whether the XOR with the reference has more words of zeroes than the chunk itself. A page that the guest has
 * put to another use has nothing in common with what was there, and LZ4 would find nothing in the XOR. */
static int is_nearer(const uint8_t *chunk, const uint8_t *reference) {
  uint32_t own = 0, common = 0;
  for (size_t at = 0; at < CHUNK; at += sizeof(uint64_t)) {
    uint64_t a, b;
    memcpy(&a, chunk + at, sizeof a);
    memcpy(&b, reference + at, sizeof b);
    own += a == 0;
    common += a == b;
  }
  return common > own;
}

static int32_t send_prepare(MultiFDSendParams *p) {
  Sender *sender = p->compress_data;
  p->iovs_num = 0;
  p->next_packet_size = 0;
  if (p->normal_num == 0) return MULTIFD_OK;

  uint64_t chunks = (uint64_t)p->normal_num * (p->page_size / CHUNK);
  uint64_t segments = segments_of(chunks * CHUNK);
  size_t used = segments * ENTRY; /* setup has seen to it that a payload has 32 bits */
  for (uint64_t number = 0; number < segments; number++) {
    uint32_t count = chunks_of(number, chunks), differs = 0;
    for (uint32_t i = 0; i < count; i++) {
      uint64_t offset = offset_of(p->normal, p->page_size, number * CHUNKS + i);
      uint8_t *chunk = sender->segment + i * CHUNK;
      /* The guest may be writing to its page. It is read once, here: what is compared, compressed and sent
       * is one copy, in which every byte is either old or new. */
      memcpy(chunk, p->host + offset, CHUNK);
      if (p->reference && is_nearer(chunk, p->reference + offset)) {
        exclusive_or(chunk, p->reference + offset);
        differs |= 1u << i;
      }
    }

    /* Less than a part in 64 is not worth decoding. Bodies are never longer than their segments, so there is
     * room behind `used`. LZ4 starts from a state that it clears, so the same pages make the same bytes. */
    int size = (int)count * CHUNK;
    uint8_t *body = sender->payload + used;
    uint32_t length = (uint32_t)LZ4_compress_fast_extState(
        sender->lz4, (const char *)sender->segment, (char *)body, size, size - size / 64, sender->acceleration);
    used += length;
    if (length == 0) { /* it would not get smaller: raw, and so without XOR, which does not help it */
      for (uint32_t i = 0; i < count; i++) {
        if (!(differs & 1u << i)) continue;
        uint64_t offset = offset_of(p->normal, p->page_size, number * CHUNKS + i);
        exclusive_or(sender->segment + i * CHUNK, p->reference + offset);
      }
      differs = 0;
      memcpy(body, sender->segment, (size_t)size);
      used += (size_t)size;
    }
    uint8_t *entry = sender->payload + number * ENTRY;
    entry[0] = (uint8_t)(length >> 8); /* below SEGMENT: 16 bits */
    entry[1] = (uint8_t)length;
    entry[2] = (uint8_t)(differs >> 8);
    entry[3] = (uint8_t)differs;
  }
  p->iov[0].iov_base = sender->payload;
  p->iov[0].iov_len = used;
  p->iovs_num = 1;
  p->next_packet_size = (uint32_t)used;
  return MULTIFD_OK;
}

/* ---- Receive --------------------------------------------------------------------------------- */

typedef struct {
  uint8_t *table;   /* of the largest packet */
  uint8_t *body;    /* SEGMENT bytes: a compressed one is shorter */
  uint8_t *segment; /* SEGMENT bytes */
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
  receiver->table =
      p->services->alloc(p->channel, segments_of((uint64_t)p->page_size * p->page_count) * ENTRY, 64);
  receiver->body = p->services->alloc(p->channel, SEGMENT, 64);
  receiver->segment = p->services->alloc(p->channel, SEGMENT, 64);
  if (!receiver->table || !receiver->body || !receiver->segment)
    return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");
  return MULTIFD_OK;
}

static void recv_cleanup(MultiFDRecvParams *p) {
  Receiver *receiver = p->compress_data;
  if (!receiver) return;
  p->services->free(p->channel, receiver->segment);
  p->services->free(p->channel, receiver->body);
  p->services->free(p->channel, receiver->table);
  p->services->free(p->channel, receiver);
  p->compress_data = NULL;
}

/* One entry of the table. `length` 0: the body is the segment as it is. */
typedef struct {
  uint32_t length, differs;
} Entry;

static Entry entry_at(const uint8_t *table, uint64_t number) {
  const uint8_t *entry = table + number * ENTRY;
  return (Entry){(uint32_t)entry[0] << 8 | entry[1], (uint32_t)entry[2] << 8 | entry[3]};
}

/* Holds the table to the pages and to the payload's size, before any body is read. NULL, or what is wrong. */
static const char *check(const MultiFDRecvParams *p, const uint8_t *table, uint64_t chunks, uint64_t segments) {
  uint64_t total = segments * ENTRY; /* with all bodies below 2^33 */
  for (uint64_t number = 0; number < segments; number++) {
    Entry entry = entry_at(table, number);
    uint32_t count = chunks_of(number, chunks);
    if (entry.length >= count * CHUNK) return "a compressed segment is not shorter than its pages";
    if (entry.length == 0 && entry.differs != 0) return "a raw segment has differences";
    if (entry.differs >> count != 0) return "differences of more than a segment has";
    /* Not a reason to believe the peer: without this a payload could make us read at NULL. */
    if (entry.differs != 0 && !p->reference) return "differences from a reference that there is not";
    total += entry.length == 0 ? count * CHUNK : entry.length;
  }
  return total == p->next_packet_size ? NULL : "the payload is not as long as its table says";
}

static int32_t recv_packet(MultiFDRecvParams *p) {
  Receiver *receiver = p->compress_data;
  if (p->normal_num == 0)
    return p->next_packet_size == 0 ? MULTIFD_OK : FAIL(p, MULTIFD_ERROR_CORRUPT, "a payload without pages");
  uint64_t chunks = (uint64_t)p->normal_num * (p->page_size / CHUNK);
  uint64_t segments = segments_of(chunks * CHUNK);
  if (p->next_packet_size < segments * ENTRY || p->next_packet_size > receiver->bound)
    return FAIL(p, MULTIFD_ERROR_CORRUPT, "the payload's size is not one that delta-lz4/1 can have");
  int32_t status = p->services->read(p->channel, receiver->table, segments * ENTRY);
  if (status != MULTIFD_OK) return status; /* the host knows why */
  const char *wrong = check(p, receiver->table, chunks, segments);
  if (wrong) return FAIL(p, MULTIFD_ERROR_CORRUPT, wrong);

  for (uint64_t number = 0; number < segments; number++) {
    Entry entry = entry_at(receiver->table, number);
    uint32_t count = chunks_of(number, chunks);
    if (entry.length == 0) { /* raw, straight into the pages */
      MultiFDIOVec pieces[CHUNKS];
      for (uint32_t i = 0; i < count; i++) {
        uint64_t offset = offset_of(p->normal, p->page_size, number * CHUNKS + i);
        pieces[i] = (MultiFDIOVec){p->host + offset, CHUNK};
      }
      status = p->services->readv(p->channel, pieces, count);
      if (status != MULTIFD_OK) return status;
      continue;
    }
    status = p->services->read(p->channel, receiver->body, entry.length);
    if (status != MULTIFD_OK) return status;
    /* It writes no more than `size` bytes, whatever it is fed. */
    int size = (int)count * CHUNK;
    int decoded = LZ4_decompress_safe((const char *)receiver->body, (char *)receiver->segment,
                                      (int)entry.length, size);
    if (decoded < 0) return FAIL(p, MULTIFD_ERROR_CORRUPT, "not an LZ4 block");
    if (decoded != size) return FAIL(p, MULTIFD_ERROR_CORRUPT, "an LZ4 block is less than its segment's pages");
    for (uint32_t i = 0; i < count; i++) {
      uint64_t offset = offset_of(p->normal, p->page_size, number * CHUNKS + i);
      uint8_t *chunk = receiver->segment + i * CHUNK;
      if (entry.differs & 1u << i) exclusive_or(chunk, p->reference + offset);
      memcpy(p->host + offset, chunk, CHUNK);
    }
  }
  return MULTIFD_OK;
}

/* ---- The table ------------------------------------------------------------------------------- */

static const MultiFDOption options[] = {{
    .name = "acceleration",
    .help = "LZ4's: larger is faster and compresses less",
    .default_value = "1",
    .minimum = 1,
    .maximum = 65537,
    .type = MULTIFD_OPTION_INT,
}};

static const MultiFDMethods table = {
    MULTIFD_METHODS_HEAD,
    .capabilities = MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC | MULTIFD_CAP_REFERENCE,
    .name = "delta",
    .version = "1.0.0",
    .wire_format = "delta-lz4/1",
    .description = "LZ4 of what has changed since the receiver's page",
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
