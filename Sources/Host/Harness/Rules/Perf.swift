import CHarness
import Glibc
import PluginAPI
import Synchronization

/// `perf`: how fast it is, and what that means on a link. Nothing here fails but a callback, and a
/// lock that all channels share: numbers are for people, and for `perf/baseline`.
enum Perf {
  static let bodies: [String: Rules.Body] = [
    "perf/throughput": throughput, "perf/latency": latency, "perf/scaling": scaling,
    "perf/links": links, "perf/options": PerfOptions.check,
    "perf/baseline": { _ throws(Stop) in throw .missed("no --baseline") },
  ]

  static let contents: [(Content, String)] = [
    (.sparse, "sparse"), (.text, "text"), (.ram, "ram"), (.random, "random"),
  ]

  /// Speeds of one channel.
  struct Speed {
    /// Bytes of pages in a second.
    var encode = 0.0
    var decode = 0.0
    /// Bytes of pages for a byte of payload.
    var ratio = 1.0
    /// Seconds of the processor for 10⁹ bytes of pages, of all passes.
    var encodeCPU = 0.0
    var decodeCPU = 0.0
    /// How far the passes lie apart: the middle half of their times, as a part of the median.
    var encodeSpread = 0.0
    var decodeSpread = 0.0
    /// All packets' times.
    var encodeTimes: [UInt64] = []
    var decodeTimes: [UInt64] = []
  }

  /// The best pass of as many as there is time for: two at least, or one that has taken several
  /// times that.
  static func measure(_ bench: Bench, seconds: Double) -> Speed? {
    guard bench.isReady else { return nil }
    var speed = Speed()
    let start = charness_now(), time = UInt64(seconds * 1e9)
    let deadline = start + time
    var passes = 0
    var took: (encode: [UInt64], decode: [UInt64]) = ([], [])
    var used: (encode: UInt64, decode: UInt64) = (0, 0)
    while passes == 0 || passes < 2 && charness_now() < start + 4 * time
      || charness_now() < deadline
    {
      if passes > 0 { bench.renew() }
      guard let pass = bench.pass() else { return nil }
      passes += 1
      let bytes = Double(bench.bytes)
      took.encode.append(pass.encode.reduce(0, +))
      took.decode.append(pass.decode.reduce(0, +))
      used.encode += pass.encodeCPU
      used.decode += pass.decodeCPU
      speed.encode = max(speed.encode, bytes / max(1, Double(took.encode.last!)) * 1e9)
      speed.decode = max(speed.decode, bytes / max(1, Double(took.decode.last!)) * 1e9)
      // Of the second, so that it does not depend on how many there is time for.
      if passes <= 2 { speed.ratio = bytes / Double(max(pass.payload, 1)) }
      // The first one warms up, where there are others.
      if passes == 2 { (speed.encodeTimes, speed.decodeTimes) = ([], []) }
      speed.encodeTimes += pass.encode
      speed.decodeTimes += pass.decode
      if passes >= 1000 { break }
    }
    speed.encodeCPU = Double(used.encode) / Double(bench.bytes * passes)
    speed.decodeCPU = Double(used.decode) / Double(bench.bytes * passes)
    speed.encodeSpread = spread(took.encode)
    speed.decodeSpread = spread(took.decode)
    return speed
  }

  /// The distance of the quartiles, as a part of the median.
  static func spread(_ times: [UInt64]) -> Double {
    let sorted = times.sorted()
    guard let last = sorted.indices.last, sorted[sorted.count / 2] > 0 else { return 0 }
    return Double(sorted[last - last / 4] - sorted[last / 4]) / Double(sorted[sorted.count / 2])
  }

  /// Says so when other things ran meanwhile: figures of a busy machine compare with nothing.
  static func tellWaiting(
    _ context: Context, since start: UInt64, _ waited: UInt64, as name: String = "machine.waited"
  ) {
    let share =
      Double(charness_waited(getpid()) &- waited) / Double(max(1, charness_now() &- start)) * 100
    context.measure(name, share, "%")
    guard share > 5 else { return }
    context.reporter.say(
      .text(
        "warning: the machine is busy. For \(fixed(share, 0)) % of the time this test was ready and had "
          + "no processor: these figures are too low"))
  }

  private static func packets(_ context: Context) -> Int { context.rounds(16, quick: 1) }

  /// How long each figure is measured: a run over all tests is there for the rules first.
  private static func seconds(_ context: Context, _ full: Double) -> Double {
    context.order.isQuick ? 0.002 : full
  }

  @Sendable private static func throughput(_ context: Context) throws(Stop) {
    let library = try context.library
    let (start, waited) = (charness_now(), charness_waited(getpid()))
    var rows = [
      [
        "content", "encode MB/s", "spread", "cpu s/GB", "decode MB/s", "spread", "cpu s/GB",
        "ratio",
      ]
    ]
    for (content, name) in contents {
      let bench = Bench(
        library, content, packets: packets(context), options: context.order.options,
        seed: context.order.seed)
      guard let speed = measure(bench, seconds: seconds(context, 0.3))
      else {
        context.fail("a callback fails with pages of \(name)")
        throw .failed
      }
      context.measure("throughput.encode.\(name)", speed.encode / 1e6, "MB/s")
      context.measure("throughput.decode.\(name)", speed.decode / 1e6, "MB/s")
      context.measure("throughput.ratio.\(name)", speed.ratio, "")
      // Under names of their own: less is better here, and `perf/baseline` looks for more.
      context.measure("cpu.encode.\(name)", speed.encodeCPU, "s/GB")
      context.measure("cpu.decode.\(name)", speed.decodeCPU, "s/GB")
      context.measure("spread.encode.\(name)", speed.encodeSpread * 100, "%")
      context.measure("spread.decode.\(name)", speed.decodeSpread * 100, "%")
      rows.append([
        name, figure(speed.encode / 1e6), "\(fixed(speed.encodeSpread * 100, 0)) %",
        figure(speed.encodeCPU), figure(speed.decode / 1e6),
        "\(fixed(speed.decodeSpread * 100, 0)) %", figure(speed.decodeCPU), figure(speed.ratio),
      ])
    }
    context.reporter.say(.text(table(rows)))
    tellWaiting(context, since: start, waited)
  }

  @Sendable private static func latency(_ context: Context) throws(Stop) {
    let library = try context.library
    let bench = Bench(
      library, .ram, packets: context.rounds(32, quick: 1), options: context.order.options,
      seed: context.order.seed)
    guard let speed = measure(bench, seconds: seconds(context, 0.3))
    else {
      context.fail("a callback fails")
      throw .failed
    }
    var rows = [["packet of 512 KiB", "p50 us", "p99 us"]]
    for (name, times) in [("encode", speed.encodeTimes), ("decode", speed.decodeTimes)] {
      let sorted = times.sorted()
      let p50 = Double(sorted[sorted.count / 2]) / 1000
      let p99 = Double(sorted[sorted.count * 99 / 100]) / 1000
      context.measure("latency.\(name).p50", p50, "us")
      context.measure("latency.\(name).p99", p99, "us")
      rows.append([name, figure(p50), figure(p99)])
    }
    context.reporter.say(.text(table(rows)))
  }

  static var cores: Int { max(1, min(8, sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }

  /// All channels together, bytes of pages in a second each way.
  static func together(
    _ library: Library, channels: Int, packets: Int, options: [String: String], seconds: Double,
    seed: UInt64
  ) -> Speed? {
    let benches = (0..<channels).map { index in
      Bench(library, .ram, packets: packets, options: options, seed: seed &+ UInt64(index))
    }
    let total = Locked(Speed())
    let failed = Atomic(false)
    concurrently(channels) { index in
      guard let speed = measure(benches[index], seconds: seconds) else {
        failed.store(true, ordering: .relaxed)
        return
      }
      // The mean of a busy machine, not the best moment of each: times of all packets.
      let bytes = Double(benches[index].bytes / benches[index].packets)
      let encode = Double(speed.encodeTimes.reduce(0, +)) / Double(max(1, speed.encodeTimes.count))
      let decode = Double(speed.decodeTimes.reduce(0, +)) / Double(max(1, speed.decodeTimes.count))
      total.withLock {
        $0.encode += bytes / max(1, encode) * 1e9
        $0.decode += bytes / max(1, decode) * 1e9
        $0.ratio = speed.ratio
      }
    }
    return failed.load(ordering: .relaxed) ? nil : total.withLock { $0 }
  }

  @Sendable private static func scaling(_ context: Context) throws(Stop) {
    let library = try context.library
    for sending in [true, false] {
      let waits = try Waiting.share(
        context, sending: sending, moments: UInt64(context.rounds(24, quick: 8)))
      let (verb, name) = sending ? ("encodes", "encode") : ("decodes", "decode")
      context.measure("scaling.waits.\(name)", waits * 100, "%")
      context.check(
        waits < 0.3,
        "channels wait for one another: at \(fixed(waits * 100, 0)) % of the moments at which one is "
          + "held up while it \(verb) a packet, another cannot")
    }
    var counts = [1]
    while counts.last! * 2 <= cores { counts.append(counts.last! * 2) }
    if counts.last! < cores { counts.append(cores) }
    var rows = [["channels", "encode MB/s", "decode MB/s"]]
    for count in counts {
      guard
        let speed = together(
          library, channels: count, packets: max(1, packets(context) / 2),
          options: context.order.options,
          seconds: seconds(context, 0.2), seed: context.order.seed)
      else {
        context.fail("a callback fails with \(count) channels")
        throw .failed
      }
      context.measure("scaling.encode.\(count)", speed.encode / 1e6, "MB/s")
      context.measure("scaling.decode.\(count)", speed.decode / 1e6, "MB/s")
      rows.append([String(count), figure(speed.encode / 1e6), figure(speed.decode / 1e6)])
    }
    context.reporter.say(.text(table(rows)))
  }

  @Sendable private static func links(_ context: Context) throws(Stop) {
    let library = try context.library
    var candidates: [(Library, [String: String])] = [(library, context.order.options)]
    let silent = Reporter(test: context.order.test) { _ in }
    for path in OtherBackends.paths(context) {
      var order = context.order
      order.path = path
      guard let other = try? Context(order, silent).library,
        !candidates.contains(where: { $0.0.name == other.name })
      else { continue }
      candidates.append((other, [:]))
    }
    var lines: [LinkModel] = []
    for (candidate, options) in candidates {
      let speed = together(
        candidate, channels: cores, packets: max(1, packets(context) / 2), options: options,
        seconds: seconds(context, 0.1), seed: context.order.seed)
      guard let speed else {
        if candidate === library { context.fail("a callback fails") }
        continue
      }
      let name = candidate === library ? candidate.name + "*" : candidate.name
      lines.append(
        LinkModel(name: name, encode: speed.encode, decode: speed.decode, ratio: speed.ratio))
    }
    for line in lines {
      let name = line.name.hasSuffix("*") ? String(line.name.dropLast()) : line.name
      for speed in LinkModel.links {
        context.measure(
          "links.\(name).\(fixed(speed, 0))", line.rate(on: speed) * 8 / 1e9, "Gbit/s")
      }
    }
    context.reporter.say(.text(LinkModel.table(lines, channels: cores)))
  }
}
