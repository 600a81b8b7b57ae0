import CHarness
import Glibc
import PluginAPI

/// What calls cost in time: `resources/processor-time` and `lifecycle/prompt`. Only what no codec
/// needs is a breach, for machines are slow and busy: time asleep, and pages that take fifty
/// times as long as others.
enum ProcessorTime {
  /// What some calls took, in nanoseconds.
  private struct Cost {
    /// Processor time of the process: the backend may have threads of its own.
    var used: UInt64
    /// Neither this process at work, nor one of its threads waiting for a processor.
    var asleep: UInt64
  }

  private static func cost(_ body: () throws(Stop) -> Void) throws(Stop) -> Cost {
    let wall = charness_now()
    let (all, waited) = (charness_process_time(), charness_process_waited())
    try body()
    let passed = charness_now() &- wall
    let now = charness_process_waited()
    // A backend's own threads wait, too; one that has ended takes along what it has waited.
    let used = charness_process_time() &- all
    let busy = used &+ (now > waited ? now - waited : 0)
    return Cost(used: used, asleep: passed > busy ? passed - busy : 0)
  }

  private static func median(_ values: [UInt64]) -> UInt64 { values.sorted()[values.count / 2] }

  // MARK: Packets

  /// More than a page of 4 KiB is worth, whatever it holds.
  private static let mostForPage: UInt64 = 1_000_000
  /// And so much more than others of the same backend.
  private static let mostTimes: UInt64 = 50
  /// More sleep than a packet of half a megabyte is worth.
  private static let mostSleep: UInt64 = 700_000

  @Sendable static func ofPackets(_ context: Context) throws(Stop) {
    if charness_sanitized() != 0 { throw .missed("a sanitizer takes time itself") }
    let library = try context.library
    try contents(context, library)
    let shape = Shape(library)
    let lane = try Lane(context, shape, pages: shape.pageCount, label: "sleep", .sparse)
    var asleep: [[UInt64]] = [[], []]
    for _ in 0..<context.rounds(41, quick: 11) {
      var packet: Packet?
      asleep[0].append(
        try cost { () throws(Stop) in packet = try lane.send(lane.source.offsets) }.asleep)
      guard let packet else { break }
      asleep[1].append(try cost { () throws(Stop) in try lane.deliver(packet) }.asleep)
    }
    let reads = lane.receiver.host.readCount
    context.measure("recv.reads", Double(reads), "")
    if reads > 4 * shape.pageCount {
      context.reporter.say(
        .text("recv() reads a packet of \(shape.text) in \(reads) calls: few large ones cost less"))
    }
    for (callback, times) in zip(["send_prepare", "recv"], asleep) {
      // Of the better ones: what is asked of other threads is answered late on a busy machine.
      let time = times.sorted()[times.count / 4]
      context.check(
        time < mostSleep,
        "\(callback)() waits for \(time / 1000) us in a packet of \(shape.text), with no processor "
          + "at work")
    }
  }

  /// The same number of pages of each content.
  private static func contents(_ context: Context, _ library: Library) throws(Stop) {
    let shape = Shape(library, pages: 4)
    let scale = UInt64(max(1, shape.pageSize / 4096 * shape.pageCount))
    var costs: [(content: Content, encode: UInt64, decode: UInt64)] = []
    for content in Content.allCases {
      let lane = try Lane(context, shape, pages: 4, label: content.rawValue, content)
      let pages = Array(lane.source.offsets.prefix(shape.pageCount))
      var best = (encode: UInt64.max, decode: UInt64.max)
      // The best of some: others may have disturbed it.
      for _ in 0..<3 {
        var packet: Packet?
        let encode = try cost { () throws(Stop) in packet = try lane.send(pages) }.used
        guard let packet else { break }
        let decode = try cost { () throws(Stop) in try lane.deliver(packet) }.used
        best = (min(best.encode, encode), min(best.decode, decode))
      }
      costs.append((content, best.encode / scale, best.decode / scale))
      lane.close()
    }
    let usual = (median(costs.map(\.encode)), median(costs.map(\.decode)))
    for (content, encode, decode) in costs {
      for (what, time, usual) in [("encode", encode, usual.0), ("decode", decode, usual.1)] {
        context.check(
          time < mostForPage || time < mostTimes * usual,
          "4 KiB of \(content.rawValue) take \(time / 1000) us to \(what), others \(usual / 1000) us"
        )
      }
    }
  }

  // MARK: Setup

  /// More sleep than setup and cleanup are worth.
  private static let mostSleepOfSetup: UInt64 = 5_000_000
  /// How long one without it is looked for.
  private static let patienceWithSetup: UInt64 = 2_000_000_000

  @Sendable static func ofSetup(_ context: Context) throws(Stop) {
    if charness_sanitized() != 0 { throw .missed("a sanitizer takes time itself") }
    let shape = Shape(try context.library)
    var costs: [Cost] = []
    let least = context.rounds(15, quick: 7), begun = charness_now()
    // Whoever sleeps does so each time. On a busy machine the others seem to, now and then: a thread
    // that ends takes along what it has waited for a processor.
    while costs.count < least
      || costs.allSatisfy({ $0.asleep >= mostSleepOfSetup })
        && charness_now() &- begun < patienceWithSetup
    {
      costs.append(
        try cost { () throws(Stop) in
          let sides = (try SendDriver(context, shape), try ReceiveDriver(context, shape))
          sides.0.close()
          sides.1.close()
        })
    }
    let used = median(costs.map(\.used))
    // The loop has run at least once.
    let asleep = costs.map(\.asleep).min()!
    context.check(
      asleep < mostSleepOfSetup,
      "setup and cleanup wait for \(asleep / 1000) us, with no processor at work")
    context.check(
      used < 200_000_000, "setup and cleanup take \(used / 1_000_000) ms of a processor")
  }
}
