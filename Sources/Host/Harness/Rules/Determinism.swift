import CHarness
import Glibc
import PluginAPI

/// `determinism`: the same input gives the same bytes, where declared.
enum Determinism {
  static let bodies: [String: Rules.Body] = [
    "determinism/same-bytes": sameBytes, "determinism/placement": placement,
    "determinism/processes": processes,
  ]

  private static func declared(_ context: Context) throws(Stop) -> Library {
    let library = try context.library
    guard library.has(MULTIFD_CAP_DETERMINISTIC) else {
      throw .skipped("DETERMINISTIC is not declared")
    }
    return library
  }

  @Sendable private static func sameBytes(_ context: Context) throws(Stop) {
    let shape = Shape(try declared(context))
    let one = try Lane(context, shape, label: "same", content: Lane.mix)
    // Memory from alloc() holds something else there: what nobody has written shows.
    let other = try SendDriver(context, shape.filled(with: Filling.other))
    var random = context.random("pages")
    var number: UInt64 = 0
    func compare(_ block: Block, _ count: Int) throws(Stop) {
      number += 1
      let offsets = block.pick(count, &random)
      let payloads = [one.sender, other].map { $0.prepare(block, offsets, number: number) }
      for payload in payloads { try context.demand(payload.status, "send_prepare()") }
      try context.require(
        payloads[0].bytes == payloads[1].bytes,
        "packet \(number), of \(count) pages, differs between two channels")
    }
    for number in 0..<context.rounds(60, quick: 8) where number < 2 || context.hasTime {
      let isFull = number % context.rounds(4, quick: 8) == 0
      try compare(one.source, isFull ? shape.pageCount : 7)
    }
    // Every number of pages once; such as cost little, for there are thousands. Not with an end of an
    // option: some codecs need long for just these. In haste not most of the large ones, which take as
    // long as all the others.
    let sparse = Block(pageSize: shape.pageSize, pages: shape.pageCount, kind: .source)
    sparse.fill(.sparse, &random)
    sparse.allow(.reading)
    let step = context.isRepeated ? 9 : 1
    for count in stride(from: 1, through: shape.pageCount, by: step)
    where context.hasTime && (!context.order.isQuick || count <= 96 || count > 126) {
      try compare(sparse, count)
    }
  }

  @Sendable private static func placement(_ context: Context) throws(Stop) {
    let shape = Shape(try declared(context), pages: 16)
    let lane = try Lane(context, shape, pages: 16, label: "same", content: Lane.mix)
    // The same pages, further apart and in another place.
    let apart = Block(
      pageSize: shape.pageSize, offsets: (0..<16).map { UInt64(($0 * 3 + 1) * shape.pageSize) },
      kind: .source)
    for (here, there) in zip(lane.source.offsets, apart.offsets) {
      memcpy(apart.page(at: there), lane.source.page(at: here), shape.pageSize)
    }
    let other = try SendDriver(context, shape.channel(5, of: 8))
    for round in 0..<8 {
      let packet = try lane.send(Array(lane.source.offsets.prefix(16 - round)))
      let payload = other.prepare(
        apart, Array(apart.offsets.prefix(16 - round)), number: UInt64(round) * 77 + 1000)
      try context.require(
        payload.bytes == packet.payload,
        "packet \(round) depends on where its pages lie, its number or its channel")
    }
  }

  /// A digest of what a channel makes of some packets.
  private static func digest(_ context: Context) throws(Stop) -> UInt64 {
    let lane = try Lane(
      context, Shape(try context.library, pages: 32), label: "digest", content: Lane.mix)
    var random = context.random("digest")
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for _ in 0..<context.rounds(20, quick: 8) {
      for byte in try lane.send(lane.source.pick(12, &random)).payload {
        hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
      }
    }
    return hash
  }

  /// This very test in a child of the child, which prints its digest: other addresses, other
  /// rubbish in memory. The second one believes that it is somewhere else.
  @Sendable private static func processes(_ context: Context) throws(Stop) {
    _ = try declared(context)
    let own = try digest(context)
    if getenv("MULTIFD_HARNESS_DIGEST") != nil {
      context.measure("digest.high", Double(own >> 32), "")
      context.measure("digest.low", Double(own & 0xffff_ffff), "")
      return
    }
    if context.order.executable == "" { throw .missed("in this process only") }
    defer { unsetenv("MULTIFD_HARNESS_DIGEST") }
    for place in ["here", Elsewhere.word] {
      setenv("MULTIFD_HARNESS_DIGEST", place, 1)
      guard let other = childDigest(context) else {
        context.fail("the same in another process does not come to an end")
        throw .failed
      }
      try context.require(
        own == other,
        place == Elsewhere.word
          ? "on a machine of another name, with another environment, folder and processor, the same "
            + "pages become other bytes"
          : "another process makes other bytes of the same pages")
    }
  }

  private static func childDigest(_ context: Context) -> UInt64? {
    var order = context.order
    // It may be in another folder.
    order.path = realPath(order.path) ?? order.path
    let words = [order.executable, ChildProcess.flag] + order.arguments
    // C strings of our own, freed below: posix_spawn reads them before it returns.
    let arguments = words.map { strdup($0) } + [nil]
    defer { arguments.forEach { free($0) } }
    var descriptor: Int32 = -1
    guard let shared = charness_shared_new(&descriptor) else { return nil }
    defer { charness_shared_free(shared, descriptor) }
    var child = charness_child()
    // Another filling of fresh memory than this process has.
    guard charness_spawn(context.order.executable, arguments, descriptor, 90, &child) == 0 else {
      return nil
    }
    defer { _ = charness_end(&child) }
    _ = fcntl(child.report, F_SETFL, fcntl(child.report, F_GETFL) & ~O_NONBLOCK)
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while case let count = read(child.report, &buffer, buffer.count), count > 0 {
      bytes += buffer[..<count]
    }
    var values: [String: Double] = [:]
    for line in bytes.split(separator: UInt8(ascii: "\n")) {
      if case .metric(let name, let value, _)? = ReportLine(String(decoding: line, as: UTF8.self)) {
        values[name] = value
      }
    }
    guard let high = values["digest.high"], let low = values["digest.low"] else { return nil }
    return UInt64(high) << 32 | UInt64(low)
  }
}
