import CHarness
import Glibc
import PluginAPI

/// `bounds`: nothing is touched that is not the backend's. Most of these rules are watched by the
/// drivers and the guard pages in every test; the tests here do what is most likely to break each
/// of them.
enum Bounds {
  static let bodies: [String: Rules.Body] = alike.reduce(
    into: [
      "bounds/pointers-kept": pointersKept, "bounds/payload-bound": payloadBound,
      "bounds/iov-stable": iovStable, "bounds/stack": stack,
    ]
  ) { bodies, some in
    for test in some.tests { bodies[test] = some.body }
  }

  /// Tests that do the same: a breach of one's rule is seen in all of them.
  static let alike: [(tests: [String], body: Rules.Body)] = [
    (
      [
        "bounds/write-past-page", "bounds/write-before-page", "bounds/other-pages",
        "bounds/read-past-page", "bounds/source-read-only", "bounds/payload-read",
        "bounds/allocations", "bounds/services", "bounds/mappings",
      ], everyPage
    ),
    (["bounds/lists-read-only", "bounds/params"], lists),
    (["bounds/iov-count", "bounds/iov-sum", "bounds/iov-memory", "bounds/iov-guest"], scattered),
  ]

  /// Bytes of stack for a thread: what the contract gives the callbacks, and what the harness needs
  /// itself.
  static let stackSize = (128 + 64) << 10

  /// All that a channel does, in a thread with little stack.
  @Sendable private static func stack(_ context: Context) throws(Stop) {
    if charness_sanitized() != 0 { throw .missed("a sanitizer needs stack itself") }
    let shape = Shape(try context.library)
    let error = onStack(stackSize) {
      do throws(Stop) {
        let lane = try Lane(context, shape, content: Lane.mix)
        for count in [shape.pageCount, 1, 7] {
          try lane.pass(Array(lane.source.offsets.prefix(count)))
        }
        _ = lane.receiver.receive([1, 2, 3], lane.target, [0])
        lane.close()
      } catch {
        // Reported where it was seen.
      }
    }
    try context.require(error == 0, "no thread: \(String(cString: strerror(error)))")
    if context.hasFailed { throw .failed }
  }

  /// Each page alone, then runs of every length, with pages off limits all around.
  @Sendable private static func everyPage(_ context: Context) throws(Stop) {
    let library = try context.library
    // In a quick run not every length: many tests do this, and all of them watch for all rules.
    let counts = context.order.isQuick ? [2, 3, 7, 12] : Array(2...12)
    for content in [Content.text, .zero, .random, .mixed] {
      let lane = try Lane(context, Shape(library, pages: 12), label: content.rawValue, content)
      // Six have all the neighbours that there are.
      for offset in lane.source.offsets.prefix(context.rounds(12, quick: 6)) {
        try lane.pass([offset])
      }
      for count in counts {
        try lane.pass(Array(lane.source.offsets.prefix(min(count, lane.sender.shape.pageCount))))
      }
      lane.close()
    }
    for log in [14, 16] where library.supports(1 << log, 4) {
      let shape = Shape(pageSize: 1 << log, pageCount: 4)
      let lane = try Lane(context, shape, label: "\(log)", content: Lane.mix)
      lane.honestyRule = "roundtrip/page-sizes"
      let counts = context.order.isQuick ? [1, log == 14 ? 4 : 2] : [1, 2, 3, 4]
      for count in counts { try lane.pass(Array(lane.source.offsets.suffix(count))) }
      lane.close()
    }
  }

  /// Packets with lists of every length, which end at a page that is off limits.
  @Sendable private static func lists(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 16)
    for shape in [shape, shape.channel(3, of: 4)] {
      let lane = try Lane(context, shape, label: "\(shape.id)", content: context.manyPages)
      let all = lane.source.offsets
      for count in 0...min(16, shape.pageCount) {
        let zero = Array(all.suffix(min(count % 5, all.count - count)))
        if count + zero.count > 0 { try lane.pass(Array(all.prefix(count)), zero: zero) }
      }
      lane.close()
    }
  }

  /// As many pages as a packet can have, no two of them neighbours: as many pieces as there can be.
  @Sendable private static func scattered(_ context: Context) throws(Stop) {
    for pages in [128, 16, 1] {
      let shape = Shape(try context.library, pages: pages)
      let offsets = (0..<shape.pageCount).map { UInt64($0 * 2 * shape.pageSize) }
      let source = Block(pageSize: shape.pageSize, offsets: offsets, kind: .source)
      let target = Block(pageSize: shape.pageSize, offsets: offsets, kind: .target)
      var random = context.random("content\(pages)")
      source.fill(&random, context.manyPages)
      source.allow(.reading)
      let send = try SendDriver(context, shape)
      let receive = try ReceiveDriver(context, shape)
      for list in [offsets, offsets.reversed(), Array(offsets.prefix(max(1, pages / 2)))] {
        let payload = send.prepare(source, list)
        guard payload.status.isOK else { continue }
        let status = receive.receive(payload.bytes, target, list)
        context.check(status.isOK, as: "roundtrip/page-order", "recv() returns \(status)")
      }
    }
  }

  /// After each call its block becomes inaccessible, the lists too (as in every test), and the next
  /// packet is in another block.
  @Sendable private static func pointersKept(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 8)
    func block(_ label: String, _ kind: MemoryKind) -> Block {
      let block = Block(pageSize: shape.pageSize, pages: 12, kind: kind)
      var random = context.random(label)
      if kind == .source { block.fill(&random, Lane.mix) }
      return block
    }
    let send = try SendDriver(context, shape)
    let receive = try ReceiveDriver(context, shape)
    var old: [Block] = []
    for number in 0..<8 {
      let source = block("\(number)", .source), target = block("", .target)
      source.allow(.reading)
      let offsets = Array(source.offsets.prefix(shape.pageCount))
      // A piece of iov may point to pages until the next call, and no longer.
      for block in old { block.allow(.nothing, kind: .staleBlock) }
      let payload = send.prepare(source, offsets)
      try context.demand(payload.status, "send_prepare()")
      let status = receive.receive(payload.bytes, target, offsets)
      try context.require(status.isOK, "recv() returns \(status)")
      for offset in offsets where !source.equals(target, at: offset) {
        context.fail("the page at \(offset) of packet \(number) is not what was sent")
      }
      target.allow(.nothing, kind: .staleBlock)
      old = [source, target]
    }
    for block in old { block.allow(.nothing, kind: .staleBlock) }
    send.close()
    receive.close()
  }

  /// Looks for pages that come out as large as possible: every content, then the worst of it made
  /// worse.
  @Sendable private static func payloadBound(_ context: Context) throws(Stop) {
    let library = try context.library
    var random = context.random("search")
    var worst = 0.0
    var shapes = [Shape(library, pages: 1), Shape(library, pages: 4), Shape(library)]
    shapes += [Shape(pageSize: 65536, pageCount: 2), Shape(pageSize: 4096, pageCount: 3)]
    for shape in shapes where library.supports(shape.pageSize, shape.pageCount) {
      let block = Block(pageSize: shape.pageSize, pages: shape.pageCount, kind: .source)
      let send = try SendDriver(context, shape)
      func encode() throws(Stop) -> Double {
        let counts = shape.pageCount > 1 ? [shape.pageCount, 1] : [1]
        var share = 0.0
        for count in counts {
          let payload = send.prepare(block, Array(block.offsets.prefix(count)))
          try context.demand(payload.status, "send_prepare(), is payload_bound() too small?,")
          share = max(
            share, Double(payload.bytes.count) / Double(library.bound(shape.pageSize, count)))
        }
        return share
      }
      // What grows most in most formats first: a slow codec has no time for all in a quick run.
      let patience = Patience(context, milliseconds: 6)
      let likely: [Content] = [.random, .awkward]
      for content in likely + Content.allCases.filter({ !likely.contains($0) }) {
        if patience.isOver, !likely.contains(content) { break }
        block.fill(content, &random)
        worst = max(worst, try encode())
      }
      var best = 0.0
      block.fill(.random, &random)
      // A round over a large packet takes as long as many over a small one, and changes as many
      // pages.
      let size = shape.pageCount * shape.pageSize >> 12
      let rounds = context.rounds(300, quick: 12) * 8 / max(8, size)
      for round in 0..<max(context.rounds(8, quick: 4), rounds) where round < 1 || !patience.isOver
      {
        // Some pages get other content, some bytes become others; kept when the payload grows.
        let pages = block.offsets.shuffled(using: &random).prefix(max(1, size / 16))
        let saved = pages.map { Array(block.bytes(at: $0)) }
        for page in pages { Self.vary(block.page(at: page), shape.pageSize, &random) }
        let share = try encode()
        if share >= best {
          best = share
        } else {
          for (page, bytes) in zip(pages, saved) {
            bytes.withUnsafeBytes {
              // A page that was as long when it was saved.
              block.page(at: page).copyMemory(from: $0.baseAddress!, byteCount: $0.count)
            }
          }
        }
      }
      worst = max(worst, best)
    }
    context.measure("bound.worst-share", worst, "")
  }

  private static func vary(_ page: UnsafeMutableRawPointer, _ size: Int, _ random: inout Seeded) {
    switch random.next() % 4 {
    case 0: Content.allCases.randomElement(using: &random)!.fill(page, size, &random)
    case 1:
      let half = size / 16 * 8
      Content.allCases.randomElement(using: &random)!.fill(page + half, size - half, &random)
    case 2:
      // Copies within the page: matches, as short as they come.
      for _ in 0..<32 {
        let length = Int.random(in: 3...12, using: &random)
        let from = Int.random(in: 0...(size - length), using: &random)
        let to = Int.random(in: 0...(size - length), using: &random)
        memmove(page + to, page + from, length)
      }
    default:
      for _ in 0..<16 {
        let at = Int.random(in: 0..<size, using: &random)
        page.storeBytes(
          of: UInt8.random(in: 0...255, using: &random), toByteOffset: at, as: UInt8.self)
      }
    }
  }

  /// Between two packets of a channel others are encoded and decoded; the drivers compare.
  @Sendable private static func iovStable(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 16)
    let lanes = try Lifecycle.makeLanes(context, shape, count: 3)
    var random = context.random("pages")
    for _ in 0..<context.rounds(30, quick: 8) {
      var packets: [Packet] = []
      for lane in lanes { packets.append(try lane.send(lane.source.pick(8, &random))) }
      for (lane, packet) in zip(lanes, packets) { try lane.deliver(packet) }
      // A channel that comes and goes meanwhile.
      try SendDriver(context, shape).close()
    }
    for lane in lanes { lane.close() }
  }
}
