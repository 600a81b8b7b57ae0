/* zstd-dict: zstd with a dictionary, one packet at a time. A frame holds 16 KiB, in which there is little to
 * refer back to; a dictionary made from the memory of a guest has what other guests of its kind have in theirs.
 *
 * The wire format is README.md's, the contract multifd_plugin.h. */
#include <multifd_plugin.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What tells zstd how a dictionary is to be looked at is in a part of its header that promises less than the
 * rest; the shared library has had it, as it is, since 1.4. */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>

enum { UNIT = 16384, NAME = 8, COUNT = 4, HEADER = NAME + COUNT, ENTRY = 2 };
enum { LEAST = 256 }; /* bytes of a dictionary */

enum { LEVEL, DICTIONARY };
static const MultiFDOption options[] = {
    {.name = "level",
     .help = "how hard zstd tries",
     .default_value = "3",
     .minimum = 1,
     .maximum = 19,
     .type = MULTIFD_OPTION_INT},
    {.name = "dictionary",
     .help = "what other guests of the kind have in their memory",
     .default_value = "",
     .minimum = LEAST,
     .maximum = MULTIFD_MAX_FILE,
     .type = MULTIFD_OPTION_FILE},
};

/* ---- Common ---------------------------------------------------------------------------------- */

/* Says why a callback fails, once, and gives the status to return. */
#define FAIL(params, status, text) ((params)->services->error((params)->channel, (text)), (status))

static uint64_t units_of(uint64_t bytes) { return (bytes + UNIT - 1) / UNIT; }

static uint64_t payload_bound(uint32_t page_size, uint32_t page_count) {
  if (page_size < 4096 || page_size > 1u << 30 || (page_size & (page_size - 1)) != 0) return 0;
  uint64_t bytes = (uint64_t)page_size * page_count;
  return page_count == 0 ? 0 : HEADER + ENTRY * units_of(bytes) + bytes;
}

/* What tells dictionaries apart: 64-bit FNV-1a; 0 is no dictionary. */
static uint64_t name_of(const MultiFDOptionValue *file) {
  uint64_t hash = 0xcbf29ce484222325;
  if (file->number == 0) return 0;
  for (int64_t i = 0; i < file->number; i++) hash = (hash ^ (uint8_t)file->text[i]) * 0x100000001b3;
  return hash != 0 ? hash : 1;
}

static void put(uint8_t *out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++) out[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static uint64_t get(const uint8_t *in, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; i++) value = value << 8 | in[i];
  return value;
}

/* Where byte `at` of a packet's pages is in its block, and how many follow it there. */
static uint64_t place(const uint64_t *normal, uint32_t page_size, uint64_t at, size_t *follow) {
  uint32_t in_page = (uint32_t)(at & (page_size - 1));
  *follow = page_size - in_page;
  return normal[at / page_size] + in_page;
}

/* ---- Send ------------------------------------------------------------------------------------ */

typedef struct {
  uint8_t *payload; /* payload_bound() bytes */
  ZSTD_CCtx *context;
  void *dictionary; /* NULL: none */
  uint64_t name;
  uint8_t unit[UNIT];
} Sender;

/* Tables over the dictionary, which stays where it is. NULL without memory. */
static const ZSTD_CDict *load(Sender *sender, const MultiFDSendParams *p, int level) {
  const MultiFDOptionValue *file = &p->options[DICTIONARY];
  size_t length = (size_t)file->number;
  /* Of its fastest levels zstd would copy the tables for each frame, instead of looking at them. */
  ZSTD_compressionParameters parameters = ZSTD_getCParams(level < 3 ? 3 : level, 0, length);
  /* What zstd takes is made for 100 KiB: of 16 MiB most would not be found again. */
  unsigned log = 17;
  while (log < 22 && (size_t)1 << log < length) log++;
  if (parameters.hashLog < log) parameters.hashLog = log;
  if (parameters.chainLog < log) parameters.chainLog = log;
  size_t size = ZSTD_estimateCDictSize_advanced(length, parameters, ZSTD_dlm_byRef);
  sender->dictionary = p->services->alloc(p->channel, size, 64);
  if (!sender->dictionary) return NULL;
  return ZSTD_initStaticCDict(
      sender->dictionary, size, file->text, length, ZSTD_dlm_byRef, ZSTD_dct_rawContent, parameters);
}

static int32_t send_setup(MultiFDSendParams *p) {
  uint64_t bound = payload_bound(p->page_size, p->page_count);
  if (bound == 0 || bound > UINT32_MAX)
    return FAIL(p, MULTIFD_ERROR_UNSUPPORTED, "packets of this size are not supported");
  Sender *sender = p->services->alloc(p->channel, sizeof *sender, 64);
  if (!sender) return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");
  memset(sender, 0, sizeof *sender);
  p->compress_data = sender; /* from here on cleanup finds it */
  sender->payload = p->services->alloc(p->channel, bound, 64);
  sender->context = ZSTD_createCCtx();
  if (!sender->payload || !sender->context) return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");
  int level = (int)p->options[LEVEL].number;
  size_t status = ZSTD_CCtx_setParameter(sender->context, ZSTD_c_compressionLevel, level);
  if (p->options[DICTIONARY].number > 0) {
    sender->name = name_of(&p->options[DICTIONARY]);
    const ZSTD_CDict *dictionary = load(sender, p, level);
    if (!dictionary) return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory for the dictionary");
    status = ZSTD_CCtx_refCDict(sender->context, dictionary);
  }
  /* Every frame is of one size, so the first one has the context allocate all it needs, and packets allocate
   * nothing. This is one of zeroes, which takes a few bytes. */
  if (!ZSTD_isError(status))
    status = ZSTD_compress2(sender->context, sender->payload, bound, sender->unit, UNIT);
  if (!ZSTD_isError(status)) return MULTIFD_OK;
  return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");
}

static void send_cleanup(MultiFDSendParams *p) {
  Sender *sender = p->compress_data;
  if (!sender) return;
  ZSTD_freeCCtx(sender->context);
  p->services->free(p->channel, sender->dictionary);
  p->services->free(p->channel, sender->payload);
  p->services->free(p->channel, sender);
  p->compress_data = NULL;
}

static int32_t send_prepare(MultiFDSendParams *p) {
  Sender *sender = p->compress_data;
  uint64_t bytes = (uint64_t)p->page_size * p->normal_num, units = units_of(bytes);
  p->iovs_num = 0;
  p->next_packet_size = 0;
  if (bytes == 0) return MULTIFD_OK;

  put(sender->payload, sender->name, NAME);
  put(sender->payload + NAME, p->normal_num, COUNT);
  uint8_t *entry = sender->payload + HEADER, *body = entry + ENTRY * units;
  for (uint64_t at = 0; at < bytes; at += UNIT, entry += ENTRY) {
    size_t size = bytes - at < UNIT ? (size_t)(bytes - at) : UNIT, follow;
    /* The guest may be writing to its pages: what is compressed, or sent raw, is one copy. */
    for (size_t have = 0; have < size; have += follow) {
      uint64_t offset = place(p->normal, p->page_size, at + have, &follow);
      if (follow > size - have) follow = size - have;
      memcpy(sender->unit + have, p->host + offset, follow);
    }
    memset(sender->unit + size, 0, UNIT - size);
    size_t length = ZSTD_compress2(sender->context, body, size - 1, sender->unit, UNIT);
    if (ZSTD_isError(length)) {
      if (ZSTD_getErrorCode(length) != ZSTD_error_dstSize_tooSmall)
        return FAIL(p, MULTIFD_ERROR_INTERNAL, "zstd cannot compress a packet");
      memcpy(body, sender->unit, size); /* it would not get smaller */
      put(entry, 0, ENTRY);
      body += size;
    } else {
      put(entry, length, ENTRY);
      body += length;
    }
  }
  p->iov[0].iov_base = sender->payload;
  p->iov[0].iov_len = (size_t)(body - sender->payload);
  p->iovs_num = 1;
  p->next_packet_size = (uint32_t)(body - sender->payload);
  return MULTIFD_OK;
}

/* ---- Receive --------------------------------------------------------------------------------- */

typedef struct {
  uint8_t *payload; /* payload_bound() bytes */
  uint64_t bound;
  ZSTD_DCtx *context;
  ZSTD_DDict *dictionary; /* NULL: none */
  uint64_t name;
  uint8_t unit[UNIT];
} Receiver;

static int32_t recv_setup(MultiFDRecvParams *p) {
  const MultiFDOptionValue *file = &p->options[DICTIONARY];
  uint64_t bound = payload_bound(p->page_size, p->page_count);
  if (bound == 0 || bound > UINT32_MAX)
    return FAIL(p, MULTIFD_ERROR_UNSUPPORTED, "packets of this size are not supported");
  Receiver *receiver = p->services->alloc(p->channel, sizeof *receiver, 64);
  if (!receiver) return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");
  memset(receiver, 0, sizeof *receiver);
  p->compress_data = receiver; /* from here on cleanup finds it */
  receiver->bound = bound;
  receiver->name = name_of(file);
  receiver->payload = p->services->alloc(p->channel, bound, 64);
  receiver->context = ZSTD_createDCtx();
  if (!receiver->payload || !receiver->context) return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");
  if (file->number == 0) return MULTIFD_OK;
  receiver->dictionary = ZSTD_createDDict_advanced(
      file->text, (size_t)file->number, ZSTD_dlm_byRef, ZSTD_dct_rawContent, ZSTD_defaultCMem);
  if (receiver->dictionary) return MULTIFD_OK;
  return FAIL(p, MULTIFD_ERROR_NO_MEMORY, "out of memory for the dictionary");
}

static void recv_cleanup(MultiFDRecvParams *p) {
  Receiver *receiver = p->compress_data;
  if (!receiver) return;
  ZSTD_freeDDict(receiver->dictionary);
  ZSTD_freeDCtx(receiver->context);
  p->services->free(p->channel, receiver->payload);
  p->services->free(p->channel, receiver);
  p->compress_data = NULL;
}

/* Header and table: what they promise is what is there. The name of the dictionary, or the reason why not. */
static const char *check(const Receiver *receiver, const MultiFDRecvParams *p, uint64_t *name) {
  uint64_t bytes = (uint64_t)p->page_size * p->normal_num, size = p->next_packet_size;
  uint64_t units = units_of(bytes), sum = HEADER + ENTRY * units;
  if (size < sum) return "the payload ends in its table";
  if (get(receiver->payload + NAME, COUNT) != p->normal_num) return "it is of another number of pages";
  *name = get(receiver->payload, NAME);
  if (*name != 0 && receiver->name == 0) return "it is made with a dictionary, and there is none here";
  if (*name != 0 && *name != receiver->name) return "it is made with another dictionary";
  for (uint64_t i = 0; i < units; i++) {
    uint64_t here = bytes - i * UNIT < UNIT ? bytes - i * UNIT : UNIT;
    uint64_t length = get(receiver->payload + HEADER + ENTRY * i, ENTRY);
    if (length >= here) return "a frame is not smaller than its pages";
    sum += length > 0 ? length : here;
  }
  return sum == size ? NULL : "the lengths are not the payload's";
}

/* One frame of one unit, and of nothing else, of which `size` bytes are the pages'. */
static bool decode(Receiver *receiver, const uint8_t *body, size_t length, size_t size, uint64_t name) {
  static const uint8_t magic[4] = {0x28, 0xb5, 0x2f, 0xfd}; /* the decoder knows others, too */
  if (length < sizeof magic || memcmp(body, magic, sizeof magic) != 0) return false;
  if (ZSTD_findFrameCompressedSize(body, length) != length) return false;
  const ZSTD_DDict *dictionary = name != 0 ? receiver->dictionary : NULL;
  size_t got =
      ZSTD_decompress_usingDDict(receiver->context, receiver->unit, UNIT, body, length, dictionary);
  if (got != UNIT) return false;
  for (size_t i = size; i < UNIT; i++)
    if (receiver->unit[i] != 0) return false;
  return true;
}

static int32_t recv_packet(MultiFDRecvParams *p) {
  Receiver *receiver = p->compress_data;
  uint64_t bytes = (uint64_t)p->page_size * p->normal_num, name = 0;
  if (bytes == 0)
    return p->next_packet_size == 0 ? MULTIFD_OK
                                    : FAIL(p, MULTIFD_ERROR_CORRUPT, "a payload without pages");
  if (p->next_packet_size > receiver->bound)
    return FAIL(p, MULTIFD_ERROR_CORRUPT, "the payload is larger than one can be");
  int32_t status = p->services->read(p->channel, receiver->payload, p->next_packet_size);
  if (status != MULTIFD_OK) return status; /* the host knows why */
  const char *reason = check(receiver, p, &name);
  if (reason) return FAIL(p, MULTIFD_ERROR_CORRUPT, reason);

  const uint8_t *entry = receiver->payload + HEADER, *body = entry + ENTRY * units_of(bytes);
  for (uint64_t at = 0; at < bytes; at += UNIT, entry += ENTRY) {
    size_t size = bytes - at < UNIT ? (size_t)(bytes - at) : UNIT, length = get(entry, ENTRY), follow;
    if (length > 0 && !decode(receiver, body, length, size, name))
      return FAIL(p, MULTIFD_ERROR_CORRUPT, "a frame is not zstd's, or not of its pages");
    const uint8_t *from = length > 0 ? receiver->unit : body;
    for (size_t done = 0; done < size; done += follow) {
      uint64_t offset = place(p->normal, p->page_size, at + done, &follow);
      if (follow > size - done) follow = size - done;
      memcpy(p->host + offset, from + done, follow);
    }
    body += length > 0 ? length : size;
  }
  return MULTIFD_OK;
}

/* ---- Train ----------------------------------------------------------------------------------- */

/* How many bytes a chunk of a page takes by itself: where that is few, a dictionary can save few, and what does
 * not compress at all (keys, pictures, archives) is no other guest's. */
enum { CHUNK = 4096, FEW = 2000, MANY = 3900 };

static bool is_worth_it(ZSTD_CCtx *context, const uint8_t *chunk) {
  uint8_t room[CHUNK + 512]; /* more than ZSTD_compressBound(CHUNK) */
  size_t size = ZSTD_compressCCtx(context, room, sizeof room, chunk, CHUNK, 1);
  return !ZSTD_isError(size) && FEW <= size && size <= MANY;
}

static int64_t refuse(const MultiFDTraining *t, int32_t status, const char *text) {
  size_t length = strlen(text);
  if (t->error_size == 0) return status;
  if (length > t->error_size - 1) length = (size_t)t->error_size - 1;
  memcpy(t->error, text, length);
  t->error[length] = 0;
  return status;
}

/* A dictionary is chunks, as they are: raw content, as zstd calls it. Those that are worth it, or all if none
 * is; where there are too many, some of them, evenly spread. */
static int64_t train(const MultiFDTraining *t) {
  uint64_t chunks = t->pages_num * (t->page_size / CHUNK), good = 0, taken = 0, used = 0;
  if (strcmp(t->option, options[DICTIONARY].name) != 0)
    return refuse(t, MULTIFD_ERROR_OPTION, "there is no such file to train");
  if (t->capacity < LEAST) return refuse(t, MULTIFD_ERROR_OPTION, "a dictionary has 256 bytes at least");
  if (chunks == 0) return refuse(t, MULTIFD_ERROR_OPTION, "there are no pages to make it of");
  uint8_t *is_good = malloc(chunks);
  ZSTD_CCtx *context = ZSTD_createCCtx();
  if (is_good && context)
    for (uint64_t i = 0; i < chunks; i++)
      good += is_good[i] = is_worth_it(context, t->pages + i * CHUNK);
  ZSTD_freeCCtx(context);
  if (!is_good || !context) {
    free(is_good);
    return refuse(t, MULTIFD_ERROR_NO_MEMORY, "out of memory");
  }
  if (good == 0) memset(is_good, 1, good = chunks);
  uint64_t wanted = (t->capacity + CHUNK - 1) / CHUNK;
  if (wanted > good) wanted = good;
  for (uint64_t i = 0, seen = 0; i < chunks && taken < wanted; i++) {
    if (!is_good[i] || seen++ < taken * good / wanted) continue; /* not its turn */
    size_t length = t->capacity - used < CHUNK ? (size_t)(t->capacity - used) : CHUNK;
    memcpy(t->contents + used, t->pages + i * CHUNK, length);
    used += length;
    taken++;
  }
  free(is_good);
  return (int64_t)used;
}

/* ---- The table ------------------------------------------------------------------------------- */

static const MultiFDMethods table = {
    MULTIFD_METHODS_HEAD,
    .capabilities = MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC,
    .name = "zstd-dict",
    .version = "1.0.0",
    .wire_format = "x-zstd-dict/1",
    .description = "zstd with a dictionary of what other guests have: an example",
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
    .train = train,
};

const MultiFDMethods *multifd_plugin_entry(uint32_t host_major) {
  return host_major == MULTIFD_ABI_MAJOR ? &table : NULL;
}
