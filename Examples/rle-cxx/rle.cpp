// rle-cxx: run-length coding in C++20. The wire format is ../RLE.md, the contract is multifd_plugin.h.
//
// What C++ adds to the C example: memory that frees itself, a Result instead of status codes, spans instead
// of pointer and length. What it must not add: an exception or a symbol that gets out (see the Makefile).
#include <multifd_plugin.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <span>

namespace {

enum : uint8_t { RAW = 0, RLE = 1 };  // the first byte of a payload
constexpr size_t minRun = 3, maxRun = 130, maxLiterals = 128;
constexpr size_t pieceSize = 4096;  // divides every page size

using Bytes = std::span<const uint8_t>;
using Buffer = std::span<uint8_t>;

// What a callback returns: a status, and why, unless all is well or the host knows.
struct Result {
  int32_t status = MULTIFD_OK;
  const char *why = nullptr;
  explicit operator bool() const { return status == MULTIFD_OK; }
  static Result corrupt(const char *why) { return {MULTIFD_ERROR_CORRUPT, why}; }
};

uint64_t payloadBound(uint32_t pageSize, uint32_t pageCount) {
  if (pageSize < 4096 || pageSize > 1u << 30 || (pageSize & (pageSize - 1)) != 0) return 0;
  return pageCount == 0 ? 0 : 1 + uint64_t(pageSize) * pageCount;
}

// Memory from the host, given back when its owner goes.
class Memory {
 public:
  Memory(const MultiFDServices *services, MultiFDChannel *channel, size_t size)
      : services(services), channel(channel), size(size) {
    base = static_cast<uint8_t *>(services->alloc(channel, size, 64));
  }
  ~Memory() { services->free(channel, base); }
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;
  explicit operator bool() const { return base != nullptr; }
  Buffer bytes() const { return {base, size}; }

 private:
  const MultiFDServices *services;
  MultiFDChannel *channel;
  uint8_t *base;
  size_t size;
};

// ---- Tokens

// Writes tokens into a buffer until it is full.
class TokenWriter {
 public:
  explicit TokenWriter(Buffer out) : out(out) {}
  size_t size() const { return used; }
  bool full() const { return isFull; }

  void literals(Bytes bytes) {
    while (!bytes.empty() && !isFull) {
      Bytes some = bytes.first(std::min(bytes.size(), maxLiterals));
      if (!room(1 + some.size())) return;
      out[used] = uint8_t(some.size() - 1);
      std::memcpy(&out[used + 1], some.data(), some.size());
      used += 1 + some.size();
      bytes = bytes.subspan(some.size());
    }
  }

  void run(uint8_t byte, size_t count) {
    if (!room(2)) return;
    out[used++] = uint8_t(0x80 + count - minRun);
    out[used++] = byte;
  }

  // One piece of a page, as literals and runs of at least `shortest` bytes.
  void encode(Bytes in, size_t shortest) {
    size_t sent = 0, at = 0;  // in[sent ..< at] waits to go out as literals
    while (at < in.size()) {
      Bytes rest = in.subspan(at, std::min(in.size() - at, maxRun));
      size_t count = 1;
      while (count < rest.size() && rest[count] == rest[0]) count++;
      if (count >= shortest) {
        literals(in.subspan(sent, at - sent));
        run(rest[0], count);
        sent = at + count;
      }
      at += count;
    }
    literals(in.subspan(sent));
  }

 private:
  bool room(size_t count) {
    isFull = isFull || out.size() - used < count;
    return !isFull;
  }

  Buffer out;
  size_t used = 0;
  bool isFull = false;
};

// Fills a page from the tokens at the front of `in`, and takes them off.
Result decode(Buffer page, Bytes &in) {
  while (!page.empty()) {
    if (in.empty()) return Result::corrupt("the payload ends before its last page");
    const uint8_t token = in[0];
    in = in.subspan(1);
    const bool literal = token < 0x80;
    const size_t count = literal ? size_t(token) + 1 : size_t(token) - 0x80 + minRun;
    const size_t follows = literal ? count : 1;
    if (count > page.size()) return Result::corrupt("a token reaches across the end of a page");
    if (follows > in.size()) return Result::corrupt("the payload ends within a token");
    if (literal)
      std::memcpy(page.data(), in.data(), count);
    else
      std::memset(page.data(), in[0], count);
    in = in.subspan(follows);
    page = page.subspan(count);
  }
  return {};
}

// ---- The two directions

class Sender {
 public:
  explicit Sender(MultiFDSendParams &p)
      : memory(p.services, p.channel, payloadBound(p.page_size, p.page_count)),
        shortest(size_t(p.options[0].number)) {}
  explicit operator bool() const { return bool(memory); }

  Result packet(MultiFDSendParams &p) {
    p.iovs_num = 0;
    p.next_packet_size = 0;
    if (p.normal_num == 0) return {};
    Buffer payload = memory.bytes().first(1 + size_t(p.page_size) * p.normal_num);
    size_t size = 1 + tokens(p, payload.subspan(1, payload.size() - 2));
    if (size > 1) {
      payload[0] = RLE;
    } else {  // it would not get smaller
      payload[0] = RAW;
      for (uint64_t offset : std::span(p.normal, p.normal_num)) {
        std::memcpy(&payload[size], p.host + offset, p.page_size);
        size += p.page_size;
      }
    }
    p.iov[0] = {payload.data(), size};
    p.iovs_num = 1;
    p.next_packet_size = uint32_t(size);
    return {};
  }

 private:
  // The packet's pages as tokens. Returns their size, 0 when they do not fit.
  size_t tokens(const MultiFDSendParams &p, Buffer out) {
    TokenWriter writer(out);
    for (uint64_t offset : std::span(p.normal, p.normal_num)) {
      for (size_t at = 0; at < p.page_size; at += pieceSize) {
        // The guest may be writing to its page: encode() is given a copy that holds still.
        std::memcpy(piece, p.host + offset + at, pieceSize);
        writer.encode(piece, shortest);
        if (writer.full()) return 0;
      }
    }
    return writer.size();
  }

  Memory memory;
  size_t shortest;
  uint8_t piece[pieceSize];
};

class Receiver {
 public:
  explicit Receiver(MultiFDRecvParams &p)
      : memory(p.services, p.channel, payloadBound(p.page_size, p.page_count)) {}
  explicit operator bool() const { return bool(memory); }

  Result packet(MultiFDRecvParams &p) {
    const size_t size = p.next_packet_size;
    if (p.normal_num == 0)
      return size == 0 ? Result{} : Result::corrupt("a payload without pages");
    if (size < 2 || size > memory.bytes().size())
      return Result::corrupt("the payload's size is not one that rle/1 can have");
    uint8_t first = 0;
    if (Result got = read(p, {&first, 1}); !got) return got;
    if (first == RAW) return raw(p, size);
    if (first != RLE) return Result::corrupt("the payload is neither RAW nor RLE");

    Buffer payload = memory.bytes().first(size - 1);
    if (Result got = read(p, payload); !got) return got;
    Bytes in = payload;
    for (uint64_t offset : std::span(p.normal, p.normal_num))
      if (Result page = decode({p.host + offset, p.page_size}, in); !page) return page;
    return in.empty() ? Result{} : Result::corrupt("the payload is more than its pages");
  }

 private:
  // The host knows why a read fails: its status is handed on without a word.
  static Result read(MultiFDRecvParams &p, Buffer bytes) {
    return {p.services->read(p.channel, bytes.data(), bytes.size()), nullptr};
  }

  static Result raw(MultiFDRecvParams &p, size_t size) {
    if (size != 1 + size_t(p.page_size) * p.normal_num)
      return Result::corrupt("a raw payload has not the size of its pages");
    for (uint64_t offset : std::span(p.normal, p.normal_num))
      if (Result page = read(p, {p.host + offset, p.page_size}); !page) return page;
    return {};
  }

  Memory memory;
};

// ---- The C border

template <class Params>
int32_t report(Params *p, Result result) {
  if (result.why) p->services->error(p->channel, result.why);
  return result.status;
}

template <class State, class Params>
int32_t setup(Params *p) {
  const uint64_t bound = payloadBound(p->page_size, p->page_count);
  if (bound == 0 || bound > UINT32_MAX)
    return report(p, {MULTIFD_ERROR_UNSUPPORTED, "packets of this size are not supported"});
  const Result noMemory{MULTIFD_ERROR_NO_MEMORY, "out of memory"};
  void *place = p->services->alloc(p->channel, sizeof(State), 64);
  if (!place) return report(p, noMemory);
  State *state = new (place) State(*p);
  p->compress_data = state;  // from here on cleanup() finds it, also when this function fails
  return *state ? MULTIFD_OK : report(p, noMemory);
}

template <class State, class Params>
void cleanup(Params *p) {
  auto *state = static_cast<State *>(p->compress_data);
  if (!state) return;
  state->~State();
  p->services->free(p->channel, state);
  p->compress_data = nullptr;
}

template <class State, class Params>
int32_t packet(Params *p) {
  return report(p, static_cast<State *>(p->compress_data)->packet(*p));
}

constexpr MultiFDOption options[] = {{
    .name = "min-run",
    .help = "shortest run of equal bytes that becomes a token",
    .default_value = "4",
    .choices = nullptr,
    .minimum = minRun,
    .maximum = maxRun,
    .type = MULTIFD_OPTION_INT,
    .reserved = 0,
}};

constexpr MultiFDMethods table = {
    .magic = MULTIFD_PLUGIN_MAGIC,
    .abi_major = MULTIFD_ABI_MAJOR,
    .abi_minor = MULTIFD_ABI_MINOR,
    .struct_size = sizeof(MultiFDMethods),
    .capabilities = MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC,
    .name = "rle-cxx",
    .version = "1.0.0",
    .wire_format = "rle/1",
    .description = "run-length coding, an example in C++",
    .qemu_method = MULTIFD_QEMU_METHOD_UNKNOWN,
    .max_in_flight = 0,
    .options = options,
    .options_num = std::size(options),
    .option_size = sizeof(MultiFDOption),
    .payload_bound = payloadBound,
    .send_setup = setup<Sender, MultiFDSendParams>,
    .send_cleanup = cleanup<Sender, MultiFDSendParams>,
    .send_prepare = packet<Sender, MultiFDSendParams>,
    .recv_setup = setup<Receiver, MultiFDRecvParams>,
    .recv_cleanup = cleanup<Receiver, MultiFDRecvParams>,
    .recv = packet<Receiver, MultiFDRecvParams>,
};

}  // namespace

const MultiFDMethods *multifd_plugin_entry(uint32_t host_major) {
  return host_major == MULTIFD_ABI_MAJOR ? &table : nullptr;
}
