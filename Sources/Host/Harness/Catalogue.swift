/// What a test is for: the first half of its name.
public enum TestGroup: String, Sendable, CaseIterable {
  case load, abi, options, lifecycle, roundtrip, bounds, hostile, isolation, order, flight
  case determinism, resources, faults, golden, fuzz, perf

  /// One line on the whole group.
  public var summary: String {
    switch self {
    case .load: "the library opens, alone and without a trace"
    case .abi: "the table is what the header says"
    case .options: "every option, at both ends and beyond"
    case .lifecycle: "setup and cleanup, in any order of threads, and after failures"
    case .roundtrip: "pages come out as they went in"
    case .bounds: "nothing is touched that is not the backend's"
    case .hostile: "a payload that no honest peer sends is a clean error"
    case .isolation: "channels share nothing"
    case .order: "what the order of packets means"
    case .flight: "several packets of a channel at a time, where a backend has them"
    case .determinism: "the same input gives the same bytes, where declared"
    case .resources: "what was taken is given back"
    case .faults: "memory and connection fail at every point"
    case .golden: "earlier versions and other backends of the format are understood"
    case .fuzz: "random input until the time is up"
    case .perf: "how fast it is, and what that means on a link"
    }
  }
}

/// A name and what it stands for. What a test does is in the file of its group.
public struct TestDescription: Sendable, Equatable {
  /// `group/name`.
  public let id: String
  /// What is demanded, in one line.
  public let summary: String
  /// When it fails, what needs it is not run: later results would say the same thing again.
  public let isGate: Bool

  /// Which of several processes that fuzz at the same time; 0 for the first or only one.
  var worker = 0

  /// As a child is told it.
  var order: String { worker == 0 ? id : "\(id)#\(worker)" }

  /// The first half of the name.
  public let group: TestGroup

  /// The second half.
  public var name: String { String(id.drop { $0 != "/" }.dropFirst()) }

  init(_ id: String, _ summary: String, gate: Bool = false) {
    self.id = id
    group = TestGroup(rawValue: String(id.prefix { $0 != "/" }))!
    self.summary = summary
    isGate = gate
  }
}

/// Every test there is, in the order in which results are listed.
///
/// A breach that a test meets by the way is put down to the test whose rule it breaks: a payload
/// beyond the bound is `bounds/payload-bound`, whatever test it turned up in.
public enum Catalogue {
  /// All tests.
  public static let all: [TestDescription] =
    load + abi + options + lifecycle + roundtrip + bounds + hostile + isolation + order
    + flight + determinism + resources + faults + golden + fuzz + perf

  /// The test of that name.
  public static func test(_ id: String) -> TestDescription? { byID[id] }

  private static let byID = Dictionary(uniqueKeysWithValues: all.map { ($0.id, $0) })

  private static let load: [TestDescription] = [
    .init("load/opens", "dlopen() with RTLD_NOW and RTLD_LOCAL succeeds", gate: true),
    .init("load/entry", "multifd_plugin_entry() is there and returns a table", gate: true),
    .init("load/one-symbol", "multifd_plugin_entry is the only symbol that is exported"),
    .init("load/own-symbols", "every symbol it needs comes from libraries that it names itself"),
    .init("load/quiet", "opening it and asking for the table prints nothing"),
    .init("load/process-state", "opening it leaves the process as it was: signals, limits, …"),
    .init("load/starts-nothing", "opening it starts no thread and leaves no descriptor open"),
    .init("load/prompt", "opening it takes less than a second", gate: true),
    .init("load/static-tls", "it takes no more than a little of the process's static TLS"),
    .init("load/run-path", "it looks for libraries beside itself and in the system's folders"),
    .init("load/entry-twice", "the entry point answers the same every time it is called"),
    .init("load/other-major", "the entry point has no table of this major for another major"),
  ]

  private static let abi: [TestDescription] = [
    .init("abi/magic", "the table starts with MULTIFD_PLUGIN_MAGIC", gate: true),
    .init("abi/major", "the table is of the major that was asked for", gate: true),
    .init("abi/struct-size", "struct_size is that of the table's minor version", gate: true),
    .init(
      "abi/callbacks", "the callbacks of each direction are there, as max_in_flight has them",
      gate: true),
    .init("abi/name", "the name is well-formed and the file is called libmultifd-NAME.so"),
    .init("abi/texts", "version, wire format and description are one line each, of their form"),
    .init("abi/capabilities", "only known capabilities, and one of STATEFUL and INDEPENDENT"),
    .init("abi/qemu-method", "qemu_method is the one of QEMU's whose format it is, or UNKNOWN"),
    .init("abi/reserved", "the reserved members of options are 0"),
    .init(
      "abi/option-table", "options: names, types, ranges, defaults, help as the header demands"),
    .init("abi/bound", "payload_bound() is 0 for 0 pages, covers raw pages and never shrinks"),
    .init("abi/qemu-bound", "a format of QEMU's stays within 1 MiB for QEMU's packets"),
    .init("abi/constant", "table, strings and options never change"),
    .init("abi/later-host", "a host with longer structs and more services is served as well"),
    .init("abi/any-place", "params may lie at any multiple of 8 bytes"),
    .init("abi/host-accepts", "this host's own loader opens it and moves pages through it"),
  ]

  private static let options: [TestDescription] = [
    .init("options/defaults", "both directions set up with the defaults", gate: true),
    .init("options/ends", "each option at both ends of its range, and each choice, works"),
    .init("options/combinations", "values in range work together or are refused with a reason"),
    .init("options/apart", "each side gets on with another one that has the defaults"),
    .init("options/refused", "the host refuses what is out of range, ill-typed, unknown or double"),
    .init(
      "options/trained", "train() makes a file of pages, of the same the same, within its room"),
    .init("options/other-file", "what was made with another file of an option does no harm"),
  ]

  private static let lifecycle: [TestDescription] = [
    .init("lifecycle/setup-cleanup", "setup and cleanup without a packet between", gate: true),
    .init("lifecycle/cleanup-alone", "cleanup copes with compress_data NULL"),
    .init("lifecycle/failed-setup", "setup fails cleanly at every allocation, then cleanup works"),
    .init("lifecycle/unsupported", "sizes that cannot be had are refused in setup, with a reason"),
    .init("lifecycle/cycles", "1000 channels one after the other"),
    .init("lifecycle/both-sides", "both directions of several channels at once"),
    .init("lifecycle/threads", "setup, packets and cleanup may come from different threads"),
    .init("lifecycle/after-error", "cleanup works after a packet that failed"),
    .init("lifecycle/prints-nothing", "nothing is printed, ever"),
    .init("lifecycle/no-exit", "the process is never ended: no exit(), abort() or signal raised"),
    .init("lifecycle/process-state", "the process stays as it was: signals, limits, children, …"),
    .init(
      "lifecycle/system-calls",
      "no file is written, no socket or process made, nobody signalled or closed"),
    .init("lifecycle/at-exit", "exit() of the process does nothing of the backend's"),
    .init("lifecycle/prompt", "setup and cleanup do not sleep"),
  ]

  private static let roundtrip: [TestDescription] = [
    .init("roundtrip/basic", "a few pages of each content come out as they went in", gate: true),
    .init(
      "roundtrip/empty",
      "a packet without pages, and no other, has an empty payload, and disturbs nothing",
      gate: true),
    .init("roundtrip/every-count", "packets of 1, 2, 3 … page_count pages"),
    .init(
      "roundtrip/contents",
      "zero, text, RAM-like, random, mixed, awkward pages, and such as checksums confuse"),
    .init("roundtrip/page-sizes", "pages of every power of two from 4 KiB to 2 MiB"),
    .init("roundtrip/packet-sizes", "packets of 2^n - 1, 2^n and 2^n + 1 pages, to 1025"),
    .init("roundtrip/payload-sizes", "payloads of 2^n - 1, 2^n and 2^n + 1 bytes"),
    .init("roundtrip/flags", "any other flag of a packet's header changes nothing"),
    .init("roundtrip/page-order", "pages in any order: ascending, descending, shuffled"),
    .init("roundtrip/high-offsets", "pages at offsets beyond 4 GiB"),
    .init("roundtrip/zero-lists", "zero pages are the host's: their list changes nothing"),
    .init("roundtrip/packet-numbers", "packet numbers with gaps, as a channel among others sees"),
    .init("roundtrip/stream", "hundreds of packets in sequence on one channel"),
    .init("roundtrip/long-stream", "66,000 packets and 4 GiB on one channel (full runs)"),
    .init("roundtrip/changing-pages", "pages written while they are read decode to old or new"),
    .init(
      "roundtrip/reference", "with reference images and without, and for a gain (where declared)"),
  ]

  private static let bounds: [TestDescription] = [
    .init("bounds/write-past-page", "recv writes nothing behind a page of the packet"),
    .init("bounds/write-before-page", "recv writes nothing in front of a page of the packet"),
    .init("bounds/other-pages", "recv writes to no page that is not in the packet"),
    .init("bounds/read-past-page", "nothing of the block is read but the packet's pages"),
    .init("bounds/source-read-only", "send_prepare writes to no guest page"),
    .init("bounds/lists-read-only", "normal, zero, options, services, reference are only read"),
    .init("bounds/params", "of params only what is the backend's to set is changed"),
    .init("bounds/pointers-kept", "host, normal, zero are not used after the call"),
    .init("bounds/payload-bound", "no payload is larger than payload_bound() says"),
    .init("bounds/iov-count", "at most iovs_max entries of iov are used and written"),
    .init("bounds/iov-sum", "next_packet_size is the sum of the iov lengths"),
    .init("bounds/iov-memory", "iov entries point to memory that can be read"),
    .init("bounds/iov-stable", "a payload stays as it is until the next call on its channel"),
    .init("bounds/iov-guest", "iov points into guest pages only with MULTIFD_CAP_ZERO_COPY"),
    .init("bounds/payload-read", "recv reads the packet's payload: all of it, and no more"),
    .init("bounds/mappings", "guest memory stays the mapping that the host has made"),
    .init("bounds/stack", "callbacks get by with 128 KiB of stack"),
    .init("bounds/allocations", "memory from alloc() is used within its size and until free()"),
    .init("bounds/services", "services are called in their callback, with sane arguments"),
  ]

  private static let hostile: [TestDescription] = [
    .init("hostile/truncated", "a payload that ends at any byte is refused"),
    .init("hostile/surplus", "a payload with something behind it is refused"),
    .init("hostile/page-count", "a payload for more or fewer pages is refused"),
    .init("hostile/bit-flips", "flipped bits do no harm"),
    .init("hostile/noise", "random bytes of any length do no harm"),
    .init("hostile/length-fields", "huge and negative numbers anywhere in a payload do no harm"),
    .init(
      "hostile/extremes", "the largest payloads of one byte, behind every first byte, do no harm"),
    .init(
      "hostile/stale-memory", "what an accepted payload gives depends on nothing else in memory"),
    .init("hostile/time", "no payload costs a quarter of a second of a processor"),
    .init("hostile/foreign-payload", "payloads of other formats do no harm"),
    .init("hostile/bomb", "a payload that expands without end costs bounded memory"),
    .init("hostile/replay", "a packet that comes twice does no harm"),
    .init("hostile/loss", "a packet that is lost does no harm"),
    .init("hostile/wrong-channel", "a packet of another channel does no harm"),
    .init("hostile/repeated-offset", "a page that is in a packet twice does no harm"),
    .init("hostile/reference", "payloads for another reference, or none, do no harm"),
    .init("hostile/status", "a refusal is one of the header's statuses: CORRUPT for a bad payload"),
    .init("hostile/reason", "a failure is explained through error(), in one line"),
  ]

  private static let isolation: [TestDescription] = [
    .init("isolation/interleaved", "channels that take turns behave as if each were alone"),
    .init("isolation/concurrent", "channels in threads of their own do not disturb one another"),
    .init(
      "isolation/first-packets",
      "setups, first packets and a last cleanup may come at the same moment"),
    .init("isolation/silent-peer", "a channel that waits for its payload does not hold up others"),
    .init("isolation/failure", "a channel that fails does not harm another"),
    .init("isolation/options", "channels with different options do not disturb one another"),
  ]

  private static let order: [TestDescription] = [
    .init("order/independent-order", "INDEPENDENT: packets decode in any order"),
    .init("order/independent-channel", "INDEPENDENT: packets decode on any channel, and alone"),
    .init(
      "order/sends-independent",
      "SENDS_INDEPENDENT: what is sent decodes without the packets between"),
    .init("order/stateful-in-order", "STATEFUL: packets in order decode, whatever their sizes"),
    .init("order/stateful-disorder", "STATEFUL: packets out of order do no harm"),
  ]

  private static let flight: [TestDescription] = [
    .init("flight/order", "each packet is complete when it is said to be, and is itself"),
    .init("flight/cleanup", "cleanup may come while packets are in flight, and ends them"),
    .init("flight/failure", "a payload that breaks off harms no packet that is in flight with it"),
    .init("flight/channels", "channels in threads of their own, each with packets in flight"),
  ]

  private static let determinism: [TestDescription] = [
    .init("determinism/same-bytes", "two channels with the same pages give the same bytes"),
    .init("determinism/placement", "where pages lie and what they are called changes nothing"),
    .init("determinism/processes", "another process gives the same bytes"),
  ]

  private static let resources: [TestDescription] = [
    .init("resources/services-memory", "all memory of alloc() is given back by cleanup"),
    .init("resources/memory-channels", "memory does not grow with the number of channels served"),
    .init("resources/memory-packets", "memory does not grow with the number of packets"),
    .init("resources/memory-failures", "memory does not grow with failures"),
    .init("resources/memory-threads", "memory does not grow with threads that come and go"),
    .init(
      "resources/processor-time", "packets do not sleep, no content takes fifty times as long"),
    .init("resources/descriptors", "descriptors are closed again"),
    .init("resources/threads", "threads have ended when cleanup returns"),
    .init("resources/peak", "a channel needs no more memory than the host gives (and how much)"),
  ]

  private static let faults: [TestDescription] = [
    .init("faults/allocation", "any allocation of a packet may fail"),
    .init("faults/address-space", "malloc() may fail, in setup and in packets"),
    .init("faults/read-fails", "an error of read() is handed on, and nothing more is read"),
    .init("faults/connection-lost", "the connection may end at any byte"),
    .init("faults/slow-connection", "a payload may come in dribbles, with signals between"),
  ]

  private static let golden: [TestDescription] = [
    .init("golden/payloads", "payloads recorded earlier still decode (--golden)"),
    .init(
      "golden/libraries", "earlier builds still load, and both understand each other (--golden)"),
    .init("golden/same-format", "other backends of the wire format understand it, and it them"),
  ]

  private static let fuzz: [TestDescription] = [
    .init("fuzz/decode", "payloads spoilt at random: clean errors, no damage"),
    .init("fuzz/encode", "random pages in random packets come out as they went in"),
  ]

  private static let perf: [TestDescription] = [
    .init("perf/throughput", "MB/s and ratio, both ways, on four contents"),
    .init("perf/latency", "time for one packet: p50 and p99"),
    .init(
      "perf/scaling", "throughput over the number of channels, none of which waits for another"),
    .init("perf/links", "effective rate on 1, 10, 25, 100 Gbit/s beside other backends"),
    .init("perf/options", "speed and ratio over the values of each option (full runs)"),
    .init("perf/baseline", "no slower than an earlier run (--baseline)"),
  ]
}
