// new-backend: a multifd backend. The contract is multifd_plugin.h, what to do next is in README.md.
//
// encode() and decode() are the codec: replace them. The rest is the border to the host and complete as it is,
// for a codec that compresses a packet's pages as one piece, each packet by itself.
#include <multifd_plugin.h>

#include <array>
#include <cstring>
#include <new>
#include <span>

namespace {

using Bytes = std::span<const uint8_t>;
using Buffer = std::span<uint8_t>;

// ---- The codec: replace it

constexpr size_t groupSize = 64 * 8;  // divides every page size
using Group = std::array<uint64_t, 64>;

// Compresses `in` into `out`. Returns the compressed size, 0 when it would be more than `out` can hold: the bytes
// are then sent as they are. `in` is a private copy of the pages, which holds still.
//
// This one leaves out words of zeroes: of each 64 words, a bitmap of those that are not zero, then those.
size_t encode(Buffer out, Bytes in) {
  size_t used = 0;
  auto put = [&](uint64_t word) {
    if (out.size() - used < sizeof word) return false;
    std::memcpy(&out[used], &word, sizeof word);
    used += sizeof word;
    return true;
  };
  for (size_t at = 0; at < in.size(); at += groupSize) {
    Group group;
    std::memcpy(group.data(), &in[at], sizeof group);
    uint64_t map = 0;
    for (size_t i = 0; i < group.size(); i++) map |= uint64_t(group[i] != 0) << i;
    if (!put(map)) return 0;
    for (uint64_t word : group)
      if (word != 0 && !put(word)) return 0;
  }
  return used;
}

// Decompresses `in` into exactly all of `out`. False when `in` is anything else than that: the bytes come from
// the network, and nothing about them is sure.
bool decode(Buffer out, Bytes in) {
  auto take = [&](uint64_t &word) {
    if (in.size() < sizeof word) return false;
    std::memcpy(&word, in.data(), sizeof word);
    in = in.subspan(sizeof word);
    return true;
  };
  for (size_t at = 0; at < out.size(); at += groupSize) {
    Group group{};
    uint64_t map = 0;
    if (!take(map)) return false;
    for (size_t i = 0; i < group.size(); i++)
      if ((map >> i & 1) != 0 && !take(group[i])) return false;
    std::memcpy(&out[at], group.data(), sizeof group);
  }
  return in.empty();
}

// ---- The border

enum : uint8_t { RAW = 0, CODED = 1 };  // the first byte of a payload

// A byte that says what follows, and at worst the pages as they are.
uint64_t payloadBound(uint32_t pageSize, uint32_t pageCount) {
  if (pageSize < 4096 || pageSize > 1u << 30 || (pageSize & (pageSize - 1)) != 0) return 0;
  return pageCount == 0 ? 0 : 1 + uint64_t(pageSize) * pageCount;
}

template <class Params>
int32_t fail(Params *p, int32_t status, const char *why) {
  p->services->error(p->channel, why);
  return status;
}

// Memory from the host, given back when its owner goes.
class Memory {
 public:
  template <class Params>
  Memory(const Params *p, size_t size) : services(p->services), channel(p->channel) {
    base = static_cast<uint8_t *>(services->alloc(channel, size, 64));
  }
  ~Memory() { services->free(channel, base); }
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;
  explicit operator bool() const { return base != nullptr; }
  Buffer first(size_t size) const { return {base, size}; }

 private:
  const MultiFDServices *services;
  MultiFDChannel *channel;
  uint8_t *base;
};

// A channel's state, in either direction.
struct State {
  Memory payload;  // payload_bound() bytes
  Memory pages;    // a packet's pages, one after the other

  template <class Params>
  State(const Params *p, size_t bound) : payload(p, bound), pages(p, bound - 1) {}
};

template <class Params>
int32_t setup(Params *p) {
  const uint64_t bound = payloadBound(p->page_size, p->page_count);
  if (bound == 0 || bound > UINT32_MAX)
    return fail(p, MULTIFD_ERROR_UNSUPPORTED, "packets of this size are not supported");
  void *place = p->services->alloc(p->channel, sizeof(State), 64);
  if (!place) return fail(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");
  auto *state = new (place) State(p, bound);
  p->compress_data = state;  // from here on cleanup() finds it, also when this function fails
  if (!state->payload || !state->pages) return fail(p, MULTIFD_ERROR_NO_MEMORY, "out of memory");
  return MULTIFD_OK;
}

template <class Params>
void cleanup(Params *p) {
  auto *state = static_cast<State *>(p->compress_data);
  if (!state) return;
  state->~State();
  p->services->free(p->channel, state);
  p->compress_data = nullptr;
}

int32_t sendPrepare(MultiFDSendParams *p) {
  p->iovs_num = 0;
  p->next_packet_size = 0;
  if (p->normal_num == 0) return MULTIFD_OK;
  auto &state = *static_cast<State *>(p->compress_data);
  const Buffer pages = state.pages.first(size_t(p->page_size) * p->normal_num);
  const Buffer payload = state.payload.first(1 + pages.size());
  // The guest may be writing to its pages: the codec gets a copy.
  for (size_t i = 0; i < p->normal_num; i++)
    std::memcpy(&pages[i * p->page_size], p->host + p->normal[i], p->page_size);

  size_t size = encode(payload.subspan(1, pages.size() - 1), pages);
  payload[0] = size > 0 ? CODED : RAW;
  if (size == 0) {
    size = pages.size();
    std::memcpy(&payload[1], pages.data(), size);
  }
  p->iov[0] = {payload.data(), 1 + size};
  p->iovs_num = 1;
  p->next_packet_size = uint32_t(1 + size);
  return MULTIFD_OK;
}

int32_t recvPacket(MultiFDRecvParams *p) {
  if (p->normal_num == 0) {
    if (p->next_packet_size == 0) return MULTIFD_OK;
    return fail(p, MULTIFD_ERROR_CORRUPT, "a payload without pages");
  }
  auto &state = *static_cast<State *>(p->compress_data);
  Buffer pages = state.pages.first(size_t(p->page_size) * p->normal_num);
  if (p->next_packet_size < 1 || p->next_packet_size > 1 + pages.size())
    return fail(p, MULTIFD_ERROR_CORRUPT, "the payload has not the size of its pages");
  const Buffer payload = state.payload.first(p->next_packet_size);
  const int32_t status = p->services->read(p->channel, payload.data(), payload.size());
  if (status != MULTIFD_OK) return status;  // the host knows why

  const Buffer body = payload.subspan(1);
  if (payload[0] == RAW && body.size() == pages.size())
    pages = body;
  else if (payload[0] != CODED || !decode(pages, body))
    return fail(p, MULTIFD_ERROR_CORRUPT, "the payload is not one of new-backend's");
  for (size_t i = 0; i < p->normal_num; i++)
    std::memcpy(p->host + p->normal[i], &pages[i * p->page_size], p->page_size);
  return MULTIFD_OK;
}

constexpr MultiFDMethods table = {
    .magic = MULTIFD_PLUGIN_MAGIC,
    .abi_major = MULTIFD_ABI_MAJOR,
    .abi_minor = MULTIFD_ABI_MINOR,
    .struct_size = sizeof(MultiFDMethods),
    .capabilities = MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC,
    .name = "new-backend",
    .version = "0.1.0",
    .wire_format = "x-new-backend/1",  // another number whenever old payloads no longer decode
    .description = "a backend of my own",
    .qemu_method = MULTIFD_QEMU_METHOD_UNKNOWN,
    .max_in_flight = 0,
    .options = nullptr,
    .options_num = 0,
    .option_size = sizeof(MultiFDOption),
    .payload_bound = payloadBound,
    .send_setup = setup<MultiFDSendParams>,
    .send_cleanup = cleanup<MultiFDSendParams>,
    .send_prepare = sendPrepare,
    .recv_setup = setup<MultiFDRecvParams>,
    .recv_cleanup = cleanup<MultiFDRecvParams>,
    .recv = recvPacket,
};

}  // namespace

const MultiFDMethods *multifd_plugin_entry(uint32_t host_major) {
  return host_major == MULTIFD_ABI_MAJOR ? &table : nullptr;
}
