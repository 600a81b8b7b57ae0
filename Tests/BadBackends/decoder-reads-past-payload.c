/* expect: bounds/allocations */
/* try: load abi bounds hostile roundtrip */
/* The C skeleton without one bound check. */
#include <multifd_plugin.h>

#include <string.h>

/* ---- The codec: replace it ------------------------------------------------------------------- */

/* Compresses `size` bytes at `in` into `room` bytes at `out`. Returns the compressed size, 0 when it would be more
 * than `room`: the bytes are then sent as they are. `in` is a private copy of the pages, which holds still.
 *
 * This one leaves out words of zeroes: of each 64 words, a bitmap of those that are not zero, then those. */
static size_t encode(uint8_t *out, size_t room, const uint8_t *in, size_t size) {
  size_t used = 0;
  for (size_t at = 0; at < size; at += 64 * 8) {
    uint64_t words[64], map = 0;
    uint8_t *map_at = out + used;
    memcpy(words, in + at, sizeof words);
    if (room - used < sizeof map) return 0;
    used += sizeof map;
    for (int i = 0; i < 64; i++) {
      if (words[i] == 0) continue;
      if (room - used < 8) return 0;
      memcpy(out + used, &words[i], 8);
      used += 8;
      map |= UINT64_C(1) << i;
    }
    memcpy(map_at, &map, sizeof map);
  }
  return used;
}

/* Decompresses `in_size` bytes at `in` into exactly `size` bytes at `out`. Returns 1 when they are just that, 0 when
 * they are anything else: the bytes come from the network, and nothing about them is sure. */
static int decode(uint8_t *out, size_t size, const uint8_t *in, size_t in_size) {
  for (size_t at = 0; at < size; at += 64 * 8) {
    uint64_t words[64] = {0}, map;
    if (in_size < sizeof map) return 0;
    memcpy(&map, in, sizeof map);
    in += sizeof map;
    in_size -= sizeof map;
    for (int i = 0; i < 64; i++) {
      if (!(map >> i & 1)) continue;
      (void)0;
      memcpy(&words[i], in, 8);
      in += 8;
      in_size -= 8;
    }
    memcpy(out + at, words, sizeof words);
  }
  return in_size == 0;
}

/* ---- The border ------------------------------------------------------------------------------ */

enum { RAW = 0, CODED = 1 }; /* the first byte of a payload */

/* A channel's state, in either direction. */
typedef struct {
  uint8_t *payload; /* payload_bound() bytes */
  uint8_t *pages;   /* a packet's pages, one after the other */
} State;

/* A byte that says what follows, and at worst the pages as they are. */
static uint64_t payload_bound(uint32_t page_size, uint32_t page_count) {
  if (page_size < 4096 || page_size > 1u << 30 || (page_size & (page_size - 1)) != 0) return 0;
  return page_count == 0 ? 0 : 1 + (uint64_t)page_size * page_count;
}

/* Setup and cleanup are the same for both directions. */
static int32_t setup(const MultiFDServices *services, MultiFDChannel *channel, uint32_t page_size,
                     uint32_t page_count, void **compress_data) {
  uint64_t bound = payload_bound(page_size, page_count);
  if (bound == 0 || bound > UINT32_MAX) {
    services->error(channel, "packets of this size are not supported");
    return MULTIFD_ERROR_UNSUPPORTED;
  }
  State *state = services->alloc(channel, sizeof *state, 64);
  if (state) {
    *compress_data = state; /* from here on cleanup() finds it, also when this function fails */
    state->payload = services->alloc(channel, bound, 64);
    state->pages = services->alloc(channel, bound - 1, 64);
    if (state->payload && state->pages) return MULTIFD_OK;
  }
  services->error(channel, "out of memory");
  return MULTIFD_ERROR_NO_MEMORY;
}

static void cleanup(const MultiFDServices *services, MultiFDChannel *channel, void **compress_data) {
  State *state = *compress_data;
  if (!state) return;
  services->free(channel, state->pages);
  services->free(channel, state->payload);
  services->free(channel, state);
  *compress_data = NULL;
}

static int32_t send_setup(MultiFDSendParams *p) {
  return setup(p->services, p->channel, p->page_size, p->page_count, &p->compress_data);
}

static void send_cleanup(MultiFDSendParams *p) { cleanup(p->services, p->channel, &p->compress_data); }

static int32_t recv_setup(MultiFDRecvParams *p) {
  return setup(p->services, p->channel, p->page_size, p->page_count, &p->compress_data);
}

static void recv_cleanup(MultiFDRecvParams *p) { cleanup(p->services, p->channel, &p->compress_data); }

static int32_t send_prepare(MultiFDSendParams *p) {
  State *state = p->compress_data;
  size_t size = (size_t)p->page_size * p->normal_num;
  p->iovs_num = 0;
  p->next_packet_size = 0;
  if (size == 0) return MULTIFD_OK;
  /* The guest may be writing to its pages: the codec gets a copy. */
  for (uint32_t i = 0; i < p->normal_num; i++)
    memcpy(state->pages + (size_t)i * p->page_size, p->host + p->normal[i], p->page_size);

  size_t coded = encode(state->payload + 1, size - 1, state->pages, size);
  state->payload[0] = coded ? CODED : RAW;
  if (!coded) memcpy(state->payload + 1, state->pages, size);

  p->iov[0].iov_base = state->payload;
  p->iov[0].iov_len = 1 + (coded ? coded : size);
  p->iovs_num = 1;
  p->next_packet_size = (uint32_t)p->iov[0].iov_len;
  return MULTIFD_OK;
}

static int32_t corrupt(MultiFDRecvParams *p, const char *why) {
  p->services->error(p->channel, why);
  return MULTIFD_ERROR_CORRUPT;
}

static int32_t recv_packet(MultiFDRecvParams *p) {
  State *state = p->compress_data;
  size_t size = (size_t)p->page_size * p->normal_num, payload = p->next_packet_size;
  if (size == 0)
    return payload == 0 ? MULTIFD_OK : corrupt(p, "a payload without pages");
  if (payload < 1 || payload > 1 + size)
    return corrupt(p, "the payload has not the size of its pages");
  int32_t status = p->services->read(p->channel, state->payload, payload);
  if (status != MULTIFD_OK) return status; /* the host knows why */

  const uint8_t *pages = state->pages;
  if (state->payload[0] == RAW && payload == 1 + size)
    pages = state->payload + 1;
  else if (state->payload[0] != CODED || !decode(state->pages, size, state->payload + 1, payload - 1))
    return corrupt(p, "the payload is not one of try-cx's");
  for (uint32_t i = 0; i < p->normal_num; i++)
    memcpy(p->host + p->normal[i], pages + (size_t)i * p->page_size, p->page_size);
  return MULTIFD_OK;
}

static const MultiFDMethods table = {
    MULTIFD_METHODS_HEAD,
    .capabilities = MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC,
    .name = BACKEND_NAME,
    .version = "0.1.0",
    .wire_format = "try-cx/1", /* another number whenever old payloads no longer decode */
    .description = "a backend of my own",
    .qemu_method = MULTIFD_QEMU_METHOD_UNKNOWN,
    .option_size = sizeof(MultiFDOption),
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
