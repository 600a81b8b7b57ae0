/* multifd_plugin.h - the interface between a multifd host and a compression backend.
 *
 * This header is the reference manual of the ABI. It is freestanding C99, clean C++, and depends on
 * nothing but <stddef.h> and <stdint.h>. `Plugins.md` is the author's guide around it.
 *
 * WHAT A BACKEND IS
 *
 * A shared library `libmultifd-NAME.so` that exports exactly one symbol, multifd_plugin_entry(). It
 * turns the pages of a packet into a payload (send side) and a payload back into pages (receive side).
 * It knows nothing about sockets, guests, or who calls it.
 *
 * LIFECYCLE, per channel and direction. Any number of channels, in both directions, at the same time.
 *
 *      dlopen -> multifd_plugin_entry() -> payload_bound()          once per process, main thread
 *                         |
 *            .------------+-------------.
 *            v                          v
 *       send_setup()               recv_setup()                     once, before the first packet
 *            |                          |
 *            v <----.                   v <----.
 *       send_prepare() |              recv() |                      once per packet with pages
 *            |---------'                |----'
 *            v                          v
 *       send_cleanup()             recv_cleanup()                   once, also after a failed setup
 *
 * SEVERAL PACKETS IN FLIGHT. A backend that works while its caller does not wait (a thread of its own,
 * a device with a queue) sets max_in_flight and has two calls in place of one: send_submit() for a
 * packet and later send_complete() for the same, recv_submit() and recv_complete(). Up to
 * max_in_flight packets of a channel are between the two. They may be done in any order inside;
 * complete is called in the order of submit, and waits for its packet.
 *
 * A library is never unloaded: the host does not call dlclose(), so a table, a string or a callback
 * stays valid for the life of the process.
 *
 * THREADS
 *
 * Each channel and direction belongs to one thread of the host at a time: calls that take the same
 * params pointer never overlap, and each sees the effects of the one before. Setup, packets and
 * cleanup may come from different threads. Calls for different channels run concurrently, so a backend
 * keeps no mutable state outside `compress_data`. Services may be called from the thread that is
 * inside the callback, and from no other.
 *
 * WHO OWNS WHAT
 *
 *   params struct, options, services, channel   the host; valid from setup until cleanup returns
 *   host, normal, zero, reference               the host; valid during the call only
 *   iov (the array)                             the host; the backend fills in at most iovs_max entries
 *   what iov entries point to                   guest pages, or the backend's own memory; valid and
 *                                               unchanged until the next send_prepare or send_cleanup
 *                                               on that channel
 *   a MultiFDSendPacket, MultiFDRecvPacket      the host; from submit until complete of that packet
 *   host, normal, zero, reference in those      returns, or until the cleanup returns
 *   iov entries of a packet in flight           as above, until the next send_submit of that slot
 *   compress_data, packet_data                  the backend; the host never looks at them
 *   the table, its strings and options          the backend; valid and constant for ever
 *
 * GUEST PAGES CHANGE WHILE THEY ARE READ. On the send side the guest may still be running: two reads
 * of one byte can differ. Whatever is sent must decode to some mix of old and new bytes at each place,
 * never fail to decode, never overrun a buffer. A backend whose codec cannot promise that declares
 * MULTIFD_CAP_STABLE_INPUT and is given a private copy.
 *
 * WHAT A BACKEND NEVER DOES: print, exit, abort, raise or handle signals, touch a descriptor it did
 * not open, write outside the pages of the packet, map other memory in their place, keep a pointer
 * into guest memory after a call (but for iov entries, see above), throw or unwind through a callback;
 * write files, make sockets or processes; change what is the process's: environment, locale, folder,
 * limits, affinity, priority, timers, names, malloc()'s settings, the numbers of rand().
 *
 * WHAT A CALLBACK HAS: 128 KiB of stack, the default floating-point mode, and for as long as another
 * channel's read() blocks no lock that this one would have to wait for.
 *
 * VERSIONS
 *
 * Structs only grow at the end, and each carries its size. Host and backend use min(their sizes); a
 * member beyond the other side's size counts as zero. A host loads any backend of its own major and
 * refuses others, naming both versions. New capabilities are new bits: a host refuses a backend that
 * sets a bit it does not know, since such a bit asks something of the host.
 *
 * ROOM FOR WHAT IS COMING (members that exist so that these need no new major)
 *   bigger pages, bigger packets      page_size and page_count are told at setup, never assumed
 *   delta codecs                      `reference`, MULTIFD_CAP_REFERENCE
 *
 * WHAT CAME WHEN
 *   1.1   max_in_flight with send_submit, send_complete, recv_submit, recv_complete and their packets;
 *         MULTIFD_CAP_SEND_ONLY, MULTIFD_CAP_RECV_ONLY, MULTIFD_CAP_SENDS_INDEPENDENT; options of type FILE, and train
 */
#ifndef MULTIFD_PLUGIN_H
#define MULTIFD_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#if UINTPTR_MAX != 0xffffffffffffffffu
#error "multifd_plugin.h is defined for 64-bit Linux only"
#endif

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wnullability-extension"
#pragma clang assume_nonnull begin
#define MULTIFD_NULLABLE _Nullable
#define MULTIFD_NONNULL _Nonnull
#else
#define MULTIFD_NULLABLE
#define MULTIFD_NONNULL
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------
 * Constants
 * --------------------------------------------------------------------------------------------- */

/* "MFDP": the first member of MultiFDMethods. */
#define MULTIFD_PLUGIN_MAGIC 0x4d464450u

/* This header's version. Major: incompatible. Minor: something was appended. */
#define MULTIFD_ABI_MAJOR 1
#define MULTIFD_ABI_MINOR 1

/* The name of the one exported function, for dlsym(). */
#define MULTIFD_PLUGIN_ENTRY "multifd_plugin_entry"

/* What a callback or a service returns. Zero is success, everything else ends the channel.
 * A backend that fails also says why, once, through services->error(). */
#define MULTIFD_OK 0
/* The payload is not what the format allows: the peer's fault. The host reports a corrupt stream. */
#define MULTIFD_ERROR_CORRUPT (-1)
/* A service failed (read, readv): the host knows why. Hand the status on, add no text. */
#define MULTIFD_ERROR_CHANNEL (-2)
/* Memory could not be had. */
#define MULTIFD_ERROR_NO_MEMORY (-3)
/* Option values that are each in range do not go together. From setup only. */
#define MULTIFD_ERROR_OPTION (-4)
/* This page size, page count or device is not supported here. From setup only. */
#define MULTIFD_ERROR_UNSUPPORTED (-5)
/* The backend's own fault, and whatever else a host meets that it does not know. */
#define MULTIFD_ERROR_INTERNAL (-6)

/* MultiFDMethods.capabilities. */
/* A packet's payload refers to earlier packets of its channel: order and completeness matter.
 * Exactly one of STATEFUL and INDEPENDENT is set. (An option may make a stateful backend emit
 * independent packets; it still declares STATEFUL.) */
#define MULTIFD_CAP_STATEFUL 0x1u
/* Each packet decodes alone, in any order, on any channel. */
#define MULTIFD_CAP_INDEPENDENT 0x2u
/* The same pages, options and earlier packets always give the same bytes. */
#define MULTIFD_CAP_DETERMINISTIC 0x4u
/* Pages must not change during send_prepare: the host hands out a private copy. */
#define MULTIFD_CAP_STABLE_INPUT 0x8u
/* The backend can use `reference`. */
#define MULTIFD_CAP_REFERENCE 0x10u
/* iov entries may point into guest pages (zero copy), so what is sent is what the page holds when
 * the kernel reads it. Only for formats in which any bytes are a valid payload. */
#define MULTIFD_CAP_ZERO_COPY 0x20u
/* It encodes only (1.1): the callbacks of the receive side are NULL. Payloads are decoded by another
 * backend of the same wire format. */
#define MULTIFD_CAP_SEND_ONLY 0x40u
/* It decodes only (1.1): the callbacks of the send side are NULL. */
#define MULTIFD_CAP_RECV_ONLY 0x80u
/* What it sends, with its options at their defaults, refers to no earlier packet, though the format
 * allows it to (1.1): a receive channel that has decoded the channel's first packet decodes any later
 * one, in any order, without those between. With STATEFUL only; an INDEPENDENT one is like that anyway. */
#define MULTIFD_CAP_SENDS_INDEPENDENT 0x100u

/* MultiFDMethods.qemu_method of a format that stock QEMU does not know. The others go with the format of
 * their name (none/1, zlib/1, ...), and that with none but them. */
#define MULTIFD_QEMU_METHOD_UNKNOWN 0xffffffffu
/* QEMU's method bits in the flags of a multifd packet. */
#define MULTIFD_QEMU_METHOD_NONE 0x00u
#define MULTIFD_QEMU_METHOD_ZLIB 0x02u
#define MULTIFD_QEMU_METHOD_ZSTD 0x04u
#define MULTIFD_QEMU_METHOD_QPL 0x08u
#define MULTIFD_QEMU_METHOD_UADK 0x10u
#define MULTIFD_QEMU_METHOD_QATZIP 0x20u
/* A stock QEMU receives a payload into a buffer of this size, checked or not. A format that carries
 * QEMU's method bits must stay within it for QEMU's packets (128 pages of 4 KiB). */
#define MULTIFD_QEMU_MAX_PAYLOAD 1048576u

/* The most that MultiFDMethods.max_in_flight can be. */
#define MULTIFD_MAX_IN_FLIGHT 64u

/* MultiFDOption.type. How an operator writes a value, and what arrives in MultiFDOptionValue. */
#define MULTIFD_OPTION_BOOL 1u   /* on|off, yes|no, true|false; number 0 or 1 */
#define MULTIFD_OPTION_INT 2u    /* a decimal integer, perhaps negative; number */
#define MULTIFD_OPTION_SIZE 3u   /* bytes, with an optional K, M or G (powers of 1024); number */
#define MULTIFD_OPTION_ENUM 4u   /* one of choices; number is its index, text its name */
#define MULTIFD_OPTION_STRING 5u /* text without commas; number is its length in bytes */
/* A file (1.1), which the host reads: number is how many bytes it has, text is what is in it (any bytes)
 * and a NUL. None: 0 bytes, which is the default. A dictionary, say. Where both ends of a link are
 * multifd's, they have the same contents, or the backend is not used. */
#define MULTIFD_OPTION_FILE 6u

/* The largest file that an option can be. */
#define MULTIFD_MAX_FILE 16777216

/* services->log() levels. */
#define MULTIFD_LOG_ERROR 0u
#define MULTIFD_LOG_WARNING 1u
#define MULTIFD_LOG_INFO 2u
#define MULTIFD_LOG_DEBUG 3u

/* ------------------------------------------------------------------------------------------------
 * Options: a typed table that the host parses, checks and prints as help
 * --------------------------------------------------------------------------------------------- */

/* One option of a backend. The backend receives checked values only. */
typedef struct MultiFDOption {
  const char *name;          /* [a-z][a-z0-9-]*, unique in the table */
  const char *help;          /* one line, no full stop at the end */
  const char *default_value; /* as an operator would write it; must be valid itself; FILE: "" */
  /* ENUM: names of the choices, closed by NULL. Otherwise NULL. */
  const char *MULTIFD_NULLABLE const *MULTIFD_NULLABLE choices;
  /* INT, SIZE: both ends of the range, included. STRING: shortest and longest length in bytes. FILE: the
   * same of one that is given; at most MULTIFD_MAX_FILE. BOOL, ENUM: 0. */
  int64_t minimum;
  int64_t maximum;
  uint32_t type; /* MULTIFD_OPTION_* */
  uint32_t reserved;
} MultiFDOption;

/* The value of one option. The array is parallel to MultiFDMethods.options: values[i] belongs to
 * options[i], whether the operator set it or not. */
typedef struct MultiFDOptionValue {
  int64_t number;
  const char *text; /* never NULL; NUL-terminated; FILE: its bytes, and a NUL */
} MultiFDOptionValue;

/* ------------------------------------------------------------------------------------------------
 * Services: what a backend may ask of the host, so that it needs no symbol of the host
 * --------------------------------------------------------------------------------------------- */

/* One channel of the host, opaque. The first argument of every service. */
typedef struct MultiFDChannel MultiFDChannel;

/* A piece of memory. The same layout as Linux's struct iovec. */
typedef struct MultiFDIOVec {
  void *iov_base;
  size_t iov_len;
} MultiFDIOVec;

typedef struct MultiFDServices {
  uint32_t struct_size; /* sizeof of the host's struct */
  uint16_t abi_major;   /* of the host */
  uint16_t abi_minor;

  /* Reads exactly `size` bytes of the current packet's payload into `data`; blocks until they are
   * there. During recv() only. MULTIFD_OK, or an error to hand on: the connection ended, timed out,
   * or `size` is more than what is left of this packet. After an error nothing more can be read. */
  int32_t (*read)(MultiFDChannel *channel, void *data, size_t size);

  /* The same into iovs_num pieces of memory, filled in order. The array is not kept. */
  int32_t (*readv)(MultiFDChannel *channel, const MultiFDIOVec *iov, uint32_t iovs_num);

  /* A line for the operator's log, without a newline. The text is copied. */
  void (*log)(MultiFDChannel *channel, uint32_t level, const char *message);

  /* Why the current callback is about to fail: one line, without a newline, once, and not for a
   * callback that goes well. Copied. The host adds channel, packet and offset. */
  void (*error)(MultiFDChannel *channel, const char *message);

  /* Memory that counts towards this channel. `alignment` is a power of two; contents undefined.
   * NULL when there is none. A backend may use its own allocator instead. */
  void *MULTIFD_NULLABLE (*MULTIFD_NONNULL alloc)(MultiFDChannel *channel, size_t size,
                                                   size_t alignment);

  /* Gives back what alloc() returned; NULL is fine. */
  void (*free)(MultiFDChannel *channel, void *MULTIFD_NULLABLE pointer);
} MultiFDServices;

/* ------------------------------------------------------------------------------------------------
 * Params: one channel in one direction. Names as in QEMU's MultiFDSendParams/MultiFDRecvParams
 * --------------------------------------------------------------------------------------------- */

typedef struct MultiFDSendParams {
  /* Set before send_setup, constant until send_cleanup returns. */
  uint32_t struct_size; /* sizeof of the host's struct */
  uint32_t id;          /* channel number, 0 ... channels-1 */
  uint32_t channels;    /* how many channels there are */
  uint32_t page_size;   /* bytes, a power of two, 4096 ... 1 GiB */
  uint32_t page_count;  /* most pages in one packet (128 for QEMU's 4 KiB pages) */
  uint32_t iovs_max;    /* capacity of iov: page_count + 16 */
  const MultiFDServices *services;
  MultiFDChannel *channel;
  const MultiFDOptionValue *options;
  /* The backend's own state. NULL at setup. */
  void *MULTIFD_NULLABLE compress_data;

  /* Set by the host before each send_prepare. */
  uint64_t packet_num;
  /* Start of the RAM block. A page is at host + normal[i], page_size bytes long, readable. Nothing
   * else of the block may be touched. NULL when normal_num is 0. */
  const uint8_t *MULTIFD_NULLABLE host;
  /* Byte offsets of the pages in the block, in the order in which their contents are sent; each a
   * multiple of page_size, not sorted. */
  const uint64_t *MULTIFD_NULLABLE normal;
  /* Byte offsets of the packet's zero pages. The host sends them; here for codecs that model data. */
  const uint64_t *MULTIFD_NULLABLE zero;
  uint32_t normal_num; /* normal_num + zero_num is at most page_count */
  uint32_t zero_num;
  uint32_t flags; /* MULTIFD_FLAG bits of the packet's header; of the method's, QEMU's for this format, or none */

  /* Set by send_prepare. */
  /* Bytes of payload: the sum of the iov lengths, at most payload_bound(page_size, normal_num). 0 when
   * normal_num is 0, and only then: a packet with pages says at least something. */
  uint32_t next_packet_size;
  MultiFDIOVec *iov; /* the host's array; the payload in order, no piece of it empty */
  uint32_t iovs_num; /* entries used, at most iovs_max; 0 before the call */
  uint32_t reserved;

  /* NULL, or (MULTIFD_CAP_REFERENCE) an image of the same block in which the page at
   * reference + normal[i] holds what the receiver has for it now. Readable, does not change during
   * the call; nothing else of the image may be touched. */
  const uint8_t *MULTIFD_NULLABLE reference;
} MultiFDSendParams;

typedef struct MultiFDRecvParams {
  /* Set before recv_setup, constant until recv_cleanup returns. */
  uint32_t struct_size;
  uint32_t id;
  uint32_t channels;
  uint32_t page_size;
  uint32_t page_count;
  uint32_t reserved;
  const MultiFDServices *services;
  MultiFDChannel *channel;
  const MultiFDOptionValue *options;
  /* The backend's own state. NULL at setup. */
  void *MULTIFD_NULLABLE compress_data;

  /* Set by the host before each recv. */
  uint64_t packet_num;
  /* Where the pages go: host + normal[i], page_size bytes each, writable. Guest memory or the COLO
   * cache; a backend cannot tell and need not. Nothing else may be written, but a page that is
   * going to be written may hold anything in between. NULL when normal_num is 0. */
  uint8_t *MULTIFD_NULLABLE host;
  /* Checked by the host: aligned, inside the block. Peers are not honest: an offset may occur twice. */
  const uint64_t *MULTIFD_NULLABLE normal;
  /* Cleared by the host, not by the backend. */
  const uint64_t *MULTIFD_NULLABLE zero;
  uint32_t normal_num; /* normal_num + zero_num is at most page_count */
  uint32_t zero_num;
  uint32_t flags;
  /* Bytes of payload that wait in the channel; at most payload_bound(page_size, page_count), which
   * for QEMU's packets in QEMU's formats is at most MULTIFD_QEMU_MAX_PAYLOAD. 0 when normal_num is 0
   * (a QEMU 7.2 announces a stale size there; the host corrects it). The backend reads all of them. */
  uint32_t next_packet_size;

  /* As on the send side: the page at reference + normal[i] is the one that the sender compared with. */
  const uint8_t *MULTIFD_NULLABLE reference;
} MultiFDRecvParams;

/* ------------------------------------------------------------------------------------------------
 * Packets in flight (1.1): what params have of one packet, in a struct of its own. Of the params that
 * go with it, what is set before setup counts, and nothing else
 * --------------------------------------------------------------------------------------------- */

/* One packet of the send side, from send_submit until send_complete. */
typedef struct MultiFDSendPacket {
  /* Set by the host before send_submit, constant until send_complete returns. */
  uint32_t struct_size; /* sizeof of the host's struct */
  uint32_t slot;        /* which of the channel's packets in flight it is: 0 ... max_in_flight-1 */
  uint64_t packet_num;
  /* As in MultiFDSendParams. */
  const uint8_t *MULTIFD_NULLABLE host;
  const uint64_t *MULTIFD_NULLABLE normal;
  const uint64_t *MULTIFD_NULLABLE zero;
  const uint8_t *MULTIFD_NULLABLE reference;
  uint32_t normal_num;
  uint32_t zero_num;
  uint32_t flags;

  /* Set by send_complete, or before it. */
  uint32_t next_packet_size;
  MultiFDIOVec *iov; /* the slot's own array of params->iovs_max entries */
  uint32_t iovs_num; /* 0 before send_submit */
  uint32_t reserved;

  /* The backend's own, for this slot of the channel. NULL at first, and then as it was left. */
  void *MULTIFD_NULLABLE packet_data;
} MultiFDSendPacket;

/* One packet of the receive side, from recv_submit until recv_complete. No two packets of a channel
 * that are in flight together have a page in common. */
typedef struct MultiFDRecvPacket {
  uint32_t struct_size;
  uint32_t slot;
  uint64_t packet_num;
  /* As in MultiFDRecvParams. */
  uint8_t *MULTIFD_NULLABLE host;
  const uint64_t *MULTIFD_NULLABLE normal;
  const uint64_t *MULTIFD_NULLABLE zero;
  const uint8_t *MULTIFD_NULLABLE reference;
  uint32_t normal_num;
  uint32_t zero_num;
  uint32_t flags;
  uint32_t next_packet_size;

  void *MULTIFD_NULLABLE packet_data;
} MultiFDRecvPacket;

/* ------------------------------------------------------------------------------------------------
 * Training (1.1): what the file of an option is made from
 * --------------------------------------------------------------------------------------------- */

typedef struct MultiFDTraining {
  uint32_t struct_size;
  uint32_t page_size;
  /* Pages as a guest has them, one after the other: the host has chosen some. Read only. */
  const uint8_t *pages;
  uint64_t pages_num;
  /* Which option the file is for: one of type FILE. */
  const char *option;
  /* Room for the file: `capacity` bytes, within the option's range. */
  uint8_t *contents;
  uint64_t capacity;
  /* Where the reason goes if it fails: one line and its NUL, `error_size` bytes at most. */
  char *error;
  uint64_t error_size;
} MultiFDTraining;

/* ------------------------------------------------------------------------------------------------
 * The table
 * --------------------------------------------------------------------------------------------- */

typedef struct MultiFDMethods {
  uint32_t magic;     /* MULTIFD_PLUGIN_MAGIC */
  uint16_t abi_major; /* MULTIFD_ABI_MAJOR of the header it was built with */
  uint16_t abi_minor;
  uint32_t struct_size;  /* sizeof(MultiFDMethods) of that header */
  uint32_t capabilities; /* MULTIFD_CAP_* */

  const char *name;        /* what an operator types: [a-z0-9][a-z0-9_-]{0,30}, and libmultifd-NAME.so */
  const char *version;     /* of the backend, for people: "1.0.2" */
  const char *wire_format; /* NAME/N. Two backends that decode each other's payloads share one */
  const char *description; /* one line, no full stop */

  uint32_t qemu_method; /* MULTIFD_QEMU_METHOD_*, or _UNKNOWN */
  /* 0: one packet of a channel at a time, by send_prepare and recv. 1 ... MULTIFD_MAX_IN_FLIGHT (1.1):
   * up to so many, in each direction that has its submit and complete. A host may have fewer. */
  uint32_t max_in_flight;
  const MultiFDOption *MULTIFD_NULLABLE options;
  uint32_t options_num;
  uint32_t option_size; /* sizeof(MultiFDOption) of that header */

  /* The most payload bytes that any page_count pages of page_size bytes can become, in any state of
   * the channel and with any option; 0 pages: 0. Never 0 for a size that is supported; 0 says that
   * this page size is not. Any thread, any time, no side effects. Mandatory. */
  uint64_t (*payload_bound)(uint32_t page_size, uint32_t page_count);

  /* Prepares a channel: allocates, checks options. Any thread. On failure the host still calls
   * send_cleanup, with compress_data as it was left. MULTIFD_OK or an error. Mandatory, as what
   * follows, but for the direction that a SEND_ONLY or RECV_ONLY backend does not have. */
  int32_t (*MULTIFD_NULLABLE send_setup)(MultiFDSendParams *params);

  /* Gives back all that belongs to the channel. Must cope with compress_data NULL, and with packets
   * that were submitted and not completed: when it returns, no page of theirs is looked at or written
   * any more. Mandatory. */
  void (*MULTIFD_NULLABLE send_cleanup)(MultiFDSendParams *params);

  /* Encodes one packet: sets iov, iovs_num, next_packet_size. The channel's thread. Never blocks on
   * anything but work. With normal_num 0 the payload is empty. MULTIFD_OK or an error. Mandatory, but
   * where there is send_submit: there it may be NULL, and only a host of ABI 1.0 calls it. */
  int32_t (*MULTIFD_NULLABLE send_prepare)(MultiFDSendParams *params);

  /* The receive side's setup and cleanup; as for send. Mandatory. */
  int32_t (*MULTIFD_NULLABLE recv_setup)(MultiFDRecvParams *params);
  void (*MULTIFD_NULLABLE recv_cleanup)(MultiFDRecvParams *params);

  /* Decodes one packet: reads next_packet_size bytes and fills every page of `normal`. The channel's
   * thread; blocks in the read services only. The payload is hostile until proved otherwise: too
   * short, too long, or nonsense is MULTIFD_ERROR_CORRUPT, and no byte outside the pages is ever
   * written. On any error the pages may hold anything. MULTIFD_OK or an error. Mandatory, but where
   * there is recv_submit: there it may be NULL, and only a host of ABI 1.0 calls it. */
  int32_t (*MULTIFD_NULLABLE recv)(MultiFDRecvParams *params);

  /* --- ABI 1.1. NULL where max_in_flight is 0; of each direction both or none. --- */

  /* Begins to encode one packet, and does not wait for it. The channel's thread. On failure the packet
   * is not in flight. MULTIFD_OK or an error; after an error the host only cleans up. */
  int32_t (*MULTIFD_NULLABLE send_submit)(MultiFDSendParams *params, MultiFDSendPacket *packet);

  /* Waits until the packet is encoded: iov, iovs_num, next_packet_size are set when it returns. The
   * channel's thread; of the packets that were submitted always the oldest. The backend no longer
   * looks at the packet's pages then. MULTIFD_OK or an error. */
  int32_t (*MULTIFD_NULLABLE send_complete)(MultiFDSendParams *params, MultiFDSendPacket *packet);

  /* Reads next_packet_size bytes and begins to decode them, and does not wait for that. The read
   * services work in here and not in recv_complete. As recv in all else. */
  int32_t (*MULTIFD_NULLABLE recv_submit)(MultiFDRecvParams *params, MultiFDRecvPacket *packet);

  /* Waits until every page of the packet is filled; from then on they are not written any more. A
   * payload that turns out to be nonsense is MULTIFD_ERROR_CORRUPT here as well. */
  int32_t (*MULTIFD_NULLABLE recv_complete)(MultiFDRecvParams *params, MultiFDRecvPacket *packet);

  /* Makes the file of an option from pages: a dictionary from what a guest has in its memory. Asked for
   * by an operator, not on a guest's way; may take minutes. Any thread. The bytes of the file, or an error.
   * NULL where there is nothing to train. */
  int64_t (*MULTIFD_NULLABLE train)(const MultiFDTraining *training);
} MultiFDMethods;

/* The first members of a table: `static const MultiFDMethods table = { MULTIFD_METHODS_HEAD, ... }`. */
#define MULTIFD_METHODS_HEAD \
  MULTIFD_PLUGIN_MAGIC, MULTIFD_ABI_MAJOR, MULTIFD_ABI_MINOR, (uint32_t)sizeof(MultiFDMethods)

#if defined(__GNUC__)
#define MULTIFD_PLUGIN_EXPORT __attribute__((visibility("default")))
#else
#define MULTIFD_PLUGIN_EXPORT
#endif

/* The entry point. `host_major` is the host's MULTIFD_ABI_MAJOR: a library that speaks several majors
 * picks a table by it. Returns a constant table, or NULL when it has none for this host. Called in the
 * main thread, perhaps more than once, and in a child process first; allocates nothing that needs
 * giving back, starts no thread. */
MULTIFD_PLUGIN_EXPORT const MultiFDMethods *MULTIFD_NULLABLE multifd_plugin_entry(uint32_t host_major);

/* ------------------------------------------------------------------------------------------------
 * Layout, pinned. A line here changes only by adding lines for appended members.
 * --------------------------------------------------------------------------------------------- */

#define MULTIFD_PIN(name, condition) typedef char multifd_pin_##name[(condition) ? 1 : -1]
#define MULTIFD_PIN_AT(type, member, at) MULTIFD_PIN(type##_##member, offsetof(type, member) == (at))

MULTIFD_PIN(MultiFDOption_size, sizeof(MultiFDOption) == 56);
MULTIFD_PIN_AT(MultiFDOption, choices, 24);
MULTIFD_PIN_AT(MultiFDOption, minimum, 32);
MULTIFD_PIN_AT(MultiFDOption, type, 48);
MULTIFD_PIN(MultiFDOptionValue_size, sizeof(MultiFDOptionValue) == 16);
MULTIFD_PIN_AT(MultiFDOptionValue, text, 8);
MULTIFD_PIN(MultiFDIOVec_size, sizeof(MultiFDIOVec) == 16);
MULTIFD_PIN_AT(MultiFDIOVec, iov_len, 8);

MULTIFD_PIN(MultiFDServices_size, sizeof(MultiFDServices) == 56);
MULTIFD_PIN_AT(MultiFDServices, abi_major, 4);
MULTIFD_PIN_AT(MultiFDServices, read, 8);
MULTIFD_PIN_AT(MultiFDServices, readv, 16);
MULTIFD_PIN_AT(MultiFDServices, log, 24);
MULTIFD_PIN_AT(MultiFDServices, error, 32);
MULTIFD_PIN_AT(MultiFDServices, alloc, 40);
MULTIFD_PIN_AT(MultiFDServices, free, 48);

MULTIFD_PIN(MultiFDSendParams_size, sizeof(MultiFDSendParams) == 128);
MULTIFD_PIN_AT(MultiFDSendParams, iovs_max, 20);
MULTIFD_PIN_AT(MultiFDSendParams, services, 24);
MULTIFD_PIN_AT(MultiFDSendParams, channel, 32);
MULTIFD_PIN_AT(MultiFDSendParams, options, 40);
MULTIFD_PIN_AT(MultiFDSendParams, compress_data, 48);
MULTIFD_PIN_AT(MultiFDSendParams, packet_num, 56);
MULTIFD_PIN_AT(MultiFDSendParams, host, 64);
MULTIFD_PIN_AT(MultiFDSendParams, normal, 72);
MULTIFD_PIN_AT(MultiFDSendParams, zero, 80);
MULTIFD_PIN_AT(MultiFDSendParams, normal_num, 88);
MULTIFD_PIN_AT(MultiFDSendParams, zero_num, 92);
MULTIFD_PIN_AT(MultiFDSendParams, flags, 96);
MULTIFD_PIN_AT(MultiFDSendParams, next_packet_size, 100);
MULTIFD_PIN_AT(MultiFDSendParams, iov, 104);
MULTIFD_PIN_AT(MultiFDSendParams, iovs_num, 112);
MULTIFD_PIN_AT(MultiFDSendParams, reference, 120);

MULTIFD_PIN(MultiFDRecvParams_size, sizeof(MultiFDRecvParams) == 112);
MULTIFD_PIN_AT(MultiFDRecvParams, services, 24);
MULTIFD_PIN_AT(MultiFDRecvParams, channel, 32);
MULTIFD_PIN_AT(MultiFDRecvParams, options, 40);
MULTIFD_PIN_AT(MultiFDRecvParams, compress_data, 48);
MULTIFD_PIN_AT(MultiFDRecvParams, packet_num, 56);
MULTIFD_PIN_AT(MultiFDRecvParams, host, 64);
MULTIFD_PIN_AT(MultiFDRecvParams, normal, 72);
MULTIFD_PIN_AT(MultiFDRecvParams, zero, 80);
MULTIFD_PIN_AT(MultiFDRecvParams, normal_num, 88);
MULTIFD_PIN_AT(MultiFDRecvParams, zero_num, 92);
MULTIFD_PIN_AT(MultiFDRecvParams, flags, 96);
MULTIFD_PIN_AT(MultiFDRecvParams, next_packet_size, 100);
MULTIFD_PIN_AT(MultiFDRecvParams, reference, 104);

MULTIFD_PIN(MultiFDSendPacket_size, sizeof(MultiFDSendPacket) == 88);
MULTIFD_PIN_AT(MultiFDSendPacket, slot, 4);
MULTIFD_PIN_AT(MultiFDSendPacket, packet_num, 8);
MULTIFD_PIN_AT(MultiFDSendPacket, host, 16);
MULTIFD_PIN_AT(MultiFDSendPacket, normal, 24);
MULTIFD_PIN_AT(MultiFDSendPacket, zero, 32);
MULTIFD_PIN_AT(MultiFDSendPacket, reference, 40);
MULTIFD_PIN_AT(MultiFDSendPacket, normal_num, 48);
MULTIFD_PIN_AT(MultiFDSendPacket, zero_num, 52);
MULTIFD_PIN_AT(MultiFDSendPacket, flags, 56);
MULTIFD_PIN_AT(MultiFDSendPacket, next_packet_size, 60);
MULTIFD_PIN_AT(MultiFDSendPacket, iov, 64);
MULTIFD_PIN_AT(MultiFDSendPacket, iovs_num, 72);
MULTIFD_PIN_AT(MultiFDSendPacket, packet_data, 80);

MULTIFD_PIN(MultiFDRecvPacket_size, sizeof(MultiFDRecvPacket) == 72);
MULTIFD_PIN_AT(MultiFDRecvPacket, slot, 4);
MULTIFD_PIN_AT(MultiFDRecvPacket, packet_num, 8);
MULTIFD_PIN_AT(MultiFDRecvPacket, host, 16);
MULTIFD_PIN_AT(MultiFDRecvPacket, normal, 24);
MULTIFD_PIN_AT(MultiFDRecvPacket, zero, 32);
MULTIFD_PIN_AT(MultiFDRecvPacket, reference, 40);
MULTIFD_PIN_AT(MultiFDRecvPacket, normal_num, 48);
MULTIFD_PIN_AT(MultiFDRecvPacket, zero_num, 52);
MULTIFD_PIN_AT(MultiFDRecvPacket, flags, 56);
MULTIFD_PIN_AT(MultiFDRecvPacket, next_packet_size, 60);
MULTIFD_PIN_AT(MultiFDRecvPacket, packet_data, 64);

MULTIFD_PIN(MultiFDTraining_size, sizeof(MultiFDTraining) == 64);
MULTIFD_PIN_AT(MultiFDTraining, pages, 8);
MULTIFD_PIN_AT(MultiFDTraining, pages_num, 16);
MULTIFD_PIN_AT(MultiFDTraining, option, 24);
MULTIFD_PIN_AT(MultiFDTraining, contents, 32);
MULTIFD_PIN_AT(MultiFDTraining, capacity, 40);
MULTIFD_PIN_AT(MultiFDTraining, error, 48);
MULTIFD_PIN_AT(MultiFDTraining, error_size, 56);

MULTIFD_PIN(MultiFDMethods_size, sizeof(MultiFDMethods) == 168);
MULTIFD_PIN_AT(MultiFDMethods, abi_major, 4);
MULTIFD_PIN_AT(MultiFDMethods, abi_minor, 6);
MULTIFD_PIN_AT(MultiFDMethods, struct_size, 8);
MULTIFD_PIN_AT(MultiFDMethods, capabilities, 12);
MULTIFD_PIN_AT(MultiFDMethods, name, 16);
MULTIFD_PIN_AT(MultiFDMethods, version, 24);
MULTIFD_PIN_AT(MultiFDMethods, wire_format, 32);
MULTIFD_PIN_AT(MultiFDMethods, description, 40);
MULTIFD_PIN_AT(MultiFDMethods, qemu_method, 48);
MULTIFD_PIN_AT(MultiFDMethods, max_in_flight, 52);
MULTIFD_PIN_AT(MultiFDMethods, options, 56);
MULTIFD_PIN_AT(MultiFDMethods, options_num, 64);
MULTIFD_PIN_AT(MultiFDMethods, option_size, 68);
MULTIFD_PIN_AT(MultiFDMethods, payload_bound, 72);
MULTIFD_PIN_AT(MultiFDMethods, send_setup, 80);
MULTIFD_PIN_AT(MultiFDMethods, send_cleanup, 88);
MULTIFD_PIN_AT(MultiFDMethods, send_prepare, 96);
MULTIFD_PIN_AT(MultiFDMethods, recv_setup, 104);
MULTIFD_PIN_AT(MultiFDMethods, recv_cleanup, 112);
MULTIFD_PIN_AT(MultiFDMethods, recv, 120);
MULTIFD_PIN_AT(MultiFDMethods, send_submit, 128);
MULTIFD_PIN_AT(MultiFDMethods, send_complete, 136);
MULTIFD_PIN_AT(MultiFDMethods, recv_submit, 144);
MULTIFD_PIN_AT(MultiFDMethods, recv_complete, 152);
MULTIFD_PIN_AT(MultiFDMethods, train, 160);

#undef MULTIFD_PIN_AT
#undef MULTIFD_PIN

#ifdef __cplusplus
}
#endif

#if defined(__clang__)
#pragma clang assume_nonnull end
#pragma clang diagnostic pop
#endif

#endif /* MULTIFD_PLUGIN_H */
