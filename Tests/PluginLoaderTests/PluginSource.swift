/// The C source of the backends that these tests are about: one good backend, every member of which
/// a macro can spoil, and whose callbacks misbehave as the option `act` says.
///
/// It counts its calls in `test_counts` (send_setup, send_cleanup, recv_setup, recv_cleanup, recv,
/// send_prepare), an extra symbol that the tests look up.
let pluginSource = #"""
  #define _GNU_SOURCE
  #include <fcntl.h>
  #include <fenv.h>
  #include <locale.h>
  #include <malloc.h>
  #include <pthread.h>
  #include <sched.h>
  #include <signal.h>
  #include <stdio.h>
  #include <stdlib.h>
  #include <string.h>
  #include <sys/mman.h>
  #include <sys/prctl.h>
  #include <sys/resource.h>
  #include <sys/socket.h>
  #include <sys/stat.h>
  #include <sys/syscall.h>
  #include <sys/wait.h>
  #include <time.h>
  #include <unistd.h>
  #include "multifd_plugin.h"

  #ifndef NAME
  #define NAME "sample"
  #endif
  #ifndef VERSION
  #define VERSION "1.2.3"
  #endif
  #ifndef FORMAT
  #define FORMAT "sample/1"
  #endif
  #ifndef DESCRIPTION
  #define DESCRIPTION "Pages as they are"
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
  #ifndef SIZE
  #define SIZE sizeof table
  #endif
  #ifndef CAPS
  #define CAPS (MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC | MULTIFD_CAP_ZERO_COPY)
  #endif
  #ifndef QEMU
  #define QEMU MULTIFD_QEMU_METHOD_UNKNOWN
  #endif
  #ifndef SUBMITS
  #define SUBMITS
  #endif
  #ifndef IN_FLIGHT
  #define IN_FLIGHT 0
  #endif
  #ifndef BOUND
  #define BOUND (uint64_t)page_size * page_count
  #endif
  #ifndef OPTIONS
  #define OPTIONS options
  #endif
  #ifndef OPTION_SIZE
  #define OPTION_SIZE sizeof(Option)
  #endif
  #ifndef ENTRY
  #define ENTRY
  #endif
  #ifndef SEND_SETUP
  #define SEND_SETUP send_setup
  #endif
  #ifndef SEND_CLEANUP
  #define SEND_CLEANUP send_cleanup
  #endif
  #ifndef SEND_PREPARE
  #define SEND_PREPARE send_prepare
  #endif
  #ifndef RECV_SETUP
  #define RECV_SETUP recv_setup
  #endif
  #ifndef RECV_CLEANUP
  #define RECV_CLEANUP recv_cleanup
  #endif
  #ifndef RECV
  #define RECV recv_packet
  #endif
  #ifndef PAYLOAD_BOUND
  #define PAYLOAD_BOUND payload_bound
  #endif

  __attribute__((visibility("default"))) int test_counts[6];

  #ifdef CONSTRUCTOR
  __attribute__((constructor)) static void constructor(void) { CONSTRUCTOR; }
  #endif

  /* A later minor's option is longer; the host goes by the size that it is told. */
  typedef struct {
    MultiFDOption option;
  #ifdef LONG_OPTIONS
    uint64_t more[LONG_OPTIONS];
  #endif
  } Option;

  static const char *const acts[] = {
    "plain", "over-read", "over-read-ok", "under-read", "corrupt", "corrupt-silent", "huge-alloc",
    "allocs", "internal", "odd-status", "blame-channel", "read-in-setup", "setup-fails",
    "setup-unsupported", "setup-option", "huge-piece", "null-read", "read-in-pieces",
    "many-pieces", "wrong-sum", "over-bound", "no-bytes", "replace-iov", "null-base", "overflow-sum", "send-fails",
    "logs", "read-in-send", "null-piece", NULL};
  enum {
    PLAIN, OVER_READ, OVER_READ_OK, UNDER_READ, CORRUPT, CORRUPT_SILENT, HUGE_ALLOC,
    ALLOCS, INTERNAL, ODD_STATUS, BLAME_CHANNEL, READ_IN_SETUP, SETUP_FAILS,
    SETUP_UNSUPPORTED, SETUP_OPTION, HUGE_PIECE, NULL_READ, READ_IN_PIECES,
    MANY_PIECES, WRONG_SUM, OVER_BOUND, NO_BYTES, REPLACE_IOV, NULL_BASE, OVERFLOW_SUM, SEND_FAILS, LOGS,
    READ_IN_SEND, NULL_PIECE };
  static const char *const colours[] = {"red", "green", "blue", NULL};

  static const Option options[] = {
    {{"act", "What it does", "plain", acts, 0, 0, MULTIFD_OPTION_ENUM, 0}},
    {{"level", "How hard it tries", "3", NULL, -7, 22, MULTIFD_OPTION_INT, 0}},
    {{"window", "How far it looks back", "64K", NULL, 4096, 1 << 20, MULTIFD_OPTION_SIZE, 0}},
    {{"checksum", "Whether it adds a sum", "off", NULL, 0, 0, MULTIFD_OPTION_BOOL, 0}},
    {{"colour", "A choice", "green", colours, 0, 0, MULTIFD_OPTION_ENUM, 0}},
    {{"label", "A text", "abc", NULL, 2, 5, MULTIFD_OPTION_STRING, 0}},
  #ifdef EXTRA_OPTION
    {EXTRA_OPTION},
  #endif
  };

  static uint64_t payload_bound(uint32_t page_size, uint32_t page_count) { return BOUND; }

  static int64_t act(const MultiFDOptionValue *values) { return values[0].number; }

  static int32_t setup(const MultiFDOptionValue *values, const MultiFDServices *services,
                       MultiFDChannel *channel, void **state) {
    char byte;
    *state = services->alloc(channel, 100, 64);
    if (*state == NULL || ((uintptr_t)*state & 63)) return MULTIFD_ERROR_NO_MEMORY;
    switch (act(values)) {
    case READ_IN_SETUP: return services->read(channel, &byte, 1);
    case SETUP_FAILS:
      services->error(channel, "first text");
      services->error(channel, "the device\nis busy");
      return MULTIFD_ERROR_INTERNAL;
    case SETUP_UNSUPPORTED: return MULTIFD_ERROR_UNSUPPORTED;
    case SETUP_OPTION:
      services->error(channel, "level 3 and label abc do not go together");
      return MULTIFD_ERROR_OPTION;
    case HUGE_ALLOC:
      if (services->alloc(channel, 16, 3) != NULL) return MULTIFD_ERROR_INTERNAL;
      if (services->alloc(channel, SIZE_MAX, 8) != NULL) return MULTIFD_ERROR_INTERNAL;
      if (services->alloc(channel, (size_t)1 << 40, 8) != NULL) return MULTIFD_ERROR_INTERNAL;
      return MULTIFD_ERROR_NO_MEMORY;
    case LOGS: services->log(channel, MULTIFD_LOG_INFO, "level\tis fine"); return MULTIFD_OK;
    default: return MULTIFD_OK;
    }
  }

  static int32_t send_setup(MultiFDSendParams *p) {
    test_counts[0]++;
    return setup(p->options, p->services, p->channel, &p->compress_data);
  }
  static void send_cleanup(MultiFDSendParams *p) {
    test_counts[1]++;
    p->services->free(p->channel, p->compress_data);
    p->compress_data = NULL;
  }
  static int32_t recv_setup(MultiFDRecvParams *p) {
    test_counts[2]++;
    return setup(p->options, p->services, p->channel, &p->compress_data);
  }
  static void recv_cleanup(MultiFDRecvParams *p) {
    test_counts[3]++;
    p->services->free(p->channel, p->compress_data);
    p->compress_data = NULL;
  }

  static int32_t send_prepare(MultiFDSendParams *p) {
    static char other[64];
    static MultiFDIOVec theirs[1];
    test_counts[5]++;
    uint32_t size = 0, count = p->normal_num;
    for (uint32_t i = 0; i < count; i++) {
      p->iov[i].iov_base = (void *)(p->host + p->normal[i]);
      p->iov[i].iov_len = p->page_size;
      size += p->page_size;
    }
    p->iovs_num = count;
    p->next_packet_size = size;
    if (count == 0) return MULTIFD_OK;
    switch (act(p->options)) {
    case MANY_PIECES: p->iovs_num = p->iovs_max + 1; break;
    case WRONG_SUM: p->next_packet_size--; break;
    case OVER_BOUND:
      p->iov[count] = (MultiFDIOVec){other, 1};
      p->iovs_num++;
      p->next_packet_size++;
      break;
    case NO_BYTES: p->iovs_num = p->next_packet_size = 0; break;
    case REPLACE_IOV: p->iov = theirs; break;
    case NULL_BASE: p->iov[0].iov_base = NULL; break;
    case OVERFLOW_SUM:
      p->iov[0].iov_len = SIZE_MAX;
      p->iov[count] = (MultiFDIOVec){other, (size_t)p->page_size + 1};
      p->iovs_num++;
      break;
    case SEND_FAILS: p->services->error(p->channel, "cannot encode"); return MULTIFD_ERROR_INTERNAL;
    case READ_IN_SEND: return p->services->read(p->channel, other, 1);
    }
    return MULTIFD_OK;
  }

  static int32_t recv_packet(MultiFDRecvParams *p) {
    const MultiFDServices *s = p->services;
    MultiFDIOVec pieces[256];
    char byte;
    int32_t status;
    test_counts[4]++;
    if (p->normal_num > 256) return MULTIFD_ERROR_UNSUPPORTED;
    for (uint32_t i = 0; i < p->normal_num; i++)
      pieces[i] = (MultiFDIOVec){p->host + p->normal[i], p->page_size};
    switch (act(p->options)) {
    case OVER_READ:
    case OVER_READ_OK:
      status = s->readv(p->channel, pieces, p->normal_num);
      if (status) return status;
      status = s->read(p->channel, &byte, 1);
      return act(p->options) == OVER_READ ? status : MULTIFD_OK;
    case UNDER_READ: pieces[0].iov_len -= 5; break;
    case CORRUPT: s->error(p->channel, "bad code 7"); return MULTIFD_ERROR_CORRUPT;
    case CORRUPT_SILENT: return MULTIFD_ERROR_CORRUPT;
    case INTERNAL: s->error(p->channel, "device reset"); return MULTIFD_ERROR_INTERNAL;
    case ODD_STATUS: return 77;
    case BLAME_CHANNEL: return MULTIFD_ERROR_CHANNEL;
    case HUGE_PIECE: pieces[0].iov_len = SIZE_MAX - 100; pieces[1].iov_len = 101 + 8192; break;
    case NULL_READ: return s->read(p->channel, NULL, 10);
    case NULL_PIECE: pieces[0].iov_base = NULL; break;
    case ALLOCS: s->alloc(p->channel, 1000, 8); break;
    case READ_IN_PIECES:
      for (uint32_t i = 0; i < p->normal_num; i++)
        for (uint32_t at = 0; at < p->page_size; at += 1024)
          if ((status = s->read(p->channel, (char *)pieces[i].iov_base + at, 1024))) return status;
      return s->read(p->channel, &byte, 0);
    }
    return s->readv(p->channel, pieces, p->normal_num);
  }

  static int32_t send_submit(MultiFDSendParams *p, MultiFDSendPacket *packet) {
    (void)p, (void)packet;
    return MULTIFD_OK;
  }

  static const struct {
    MultiFDMethods methods;
  #ifdef LONG_TABLE
    uint64_t more[LONG_TABLE];
  #endif
  } table = {
    .methods = {
      .magic = MAGIC, .abi_major = MAJOR, .abi_minor = MINOR, .struct_size = SIZE,
      .capabilities = CAPS, .name = NAME, .version = VERSION, .wire_format = FORMAT,
      .description = DESCRIPTION, .qemu_method = QEMU, .max_in_flight = IN_FLIGHT,
      .options = (const MultiFDOption *)OPTIONS,
      .options_num = sizeof options / sizeof *options, .option_size = OPTION_SIZE,
      .payload_bound = PAYLOAD_BOUND, .send_setup = SEND_SETUP, .send_cleanup = SEND_CLEANUP,
      .send_prepare = SEND_PREPARE, .recv_setup = RECV_SETUP, .recv_cleanup = RECV_CLEANUP,
      .recv = RECV, SUBMITS
    },
  };

  #ifndef NO_ENTRY
  const MultiFDMethods *multifd_plugin_entry(uint32_t host_major) {
    (void)host_major;
    ENTRY;
    return &table.methods;
  }
  #endif
  """#
