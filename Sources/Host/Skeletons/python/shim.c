/* new-backend: a multifd backend whose codec is codec.py. Slow, for trying a format and not for use: each channel has
 * a Python of its own in each direction, and each packet goes there and back. It starts processes, which a backend must
 * not; harness.toml says what of the harness is off for that. A format that has proved itself is written once more.
 *
 * This is the border to the host, and complete as it is, for a codec that compresses a packet's pages as one piece. The
 * process is in child.c. The contract is multifd_plugin.h, what to do next is in README.md. */
#include "child.h"

#include <string.h>

enum { RAW = 0, CODED = 1 }; /* the first byte of a payload */

/* A channel's state, in either direction. */
typedef struct {
  uint8_t *payload; /* payload_bound() bytes */
  uint8_t *pages;   /* a packet's pages, one after the other */
  Child child;
} State;

/* A byte that says what follows, and at worst the pages as they are. */
static uint64_t payload_bound(uint32_t page_size, uint32_t page_count) {
  if (page_size < 4096 || page_size > 1u << 30 || (page_size & (page_size - 1)) != 0) return 0;
  return page_count == 0 ? 0 : 1 + (uint64_t)page_size * page_count;
}

/* Setup and cleanup are the same for both directions. */
static int32_t setup(const MultiFDServices *services, MultiFDChannel *channel, const char *direction,
                     uint32_t page_size, uint32_t page_count, void **compress_data) {
  uint64_t bound = payload_bound(page_size, page_count);
  if (bound == 0 || bound > UINT32_MAX) {
    services->error(channel, "packets of this size are not supported");
    return MULTIFD_ERROR_UNSUPPORTED;
  }
  State *state = services->alloc(channel, sizeof *state, 64);
  if (state) {
    state->child = (Child){services, channel, 0, -1};
    *compress_data = state; /* from here on cleanup() finds it, also when this function fails */
    state->payload = services->alloc(channel, bound, 64);
    state->pages = services->alloc(channel, bound - 1, 64);
    if (state->payload && state->pages) return child_start(&state->child, direction, page_size, page_count);
  }
  services->error(channel, "out of memory");
  return MULTIFD_ERROR_NO_MEMORY;
}

static void cleanup(const MultiFDServices *services, MultiFDChannel *channel, void **compress_data) {
  State *state = *compress_data;
  if (!state) return;
  child_end(&state->child);
  services->free(channel, state->pages);
  services->free(channel, state->payload);
  services->free(channel, state);
  *compress_data = NULL;
}

static int32_t send_setup(MultiFDSendParams *p) {
  return setup(p->services, p->channel, "send", p->page_size, p->page_count, &p->compress_data);
}

static void send_cleanup(MultiFDSendParams *p) { cleanup(p->services, p->channel, &p->compress_data); }

static int32_t recv_setup(MultiFDRecvParams *p) {
  return setup(p->services, p->channel, "recv", p->page_size, p->page_count, &p->compress_data);
}

static void recv_cleanup(MultiFDRecvParams *p) { cleanup(p->services, p->channel, &p->compress_data); }

static int32_t send_prepare(MultiFDSendParams *p) {
  State *state = p->compress_data;
  size_t size = (size_t)p->page_size * p->normal_num;
  p->iovs_num = 0;
  p->next_packet_size = 0;
  if (size == 0) return MULTIFD_OK;
  /* The guest may be writing to its pages: a copy is what is coded, or sent as it is. */
  for (uint32_t i = 0; i < p->normal_num; i++)
    memcpy(state->pages + (size_t)i * p->page_size, p->host + p->normal[i], p->page_size);

  size_t coded = size - 1;
  int32_t status = child_ask(&state->child, p->normal_num, state->pages, size, state->payload + 1, &coded);
  if (status != MULTIFD_OK) return status;
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
  if (state->payload[0] == RAW && payload == 1 + size) {
    pages = state->payload + 1;
  } else if (state->payload[0] == CODED) {
    size_t decoded = size;
    status = child_ask(&state->child, p->normal_num, state->payload + 1, payload - 1, state->pages, &decoded);
    if (status != MULTIFD_OK) return status;
    if (decoded != size) return corrupt(p, "the payload is not one of new-backend's");
  } else {
    return corrupt(p, "the payload is not one of new-backend's");
  }
  for (uint32_t i = 0; i < p->normal_num; i++)
    memcpy(p->host + p->normal[i], pages + (size_t)i * p->page_size, p->page_size);
  return MULTIFD_OK;
}

static const MultiFDMethods table = {
    MULTIFD_METHODS_HEAD,
    .capabilities = MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC,
    .name = "new-backend",
    .version = "0.1.0",
    .wire_format = "x-new-backend/1", /* another number whenever old payloads no longer decode */
    .description = "a prototype of my own, in Python",
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
