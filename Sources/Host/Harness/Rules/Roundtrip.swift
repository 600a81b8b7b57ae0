import Glibc
import PluginAPI

/// `roundtrip`: pages come out as they went in, and no other is written.
enum Roundtrip {
  static let bodies: [String: Rules.Body] = [
    "roundtrip/basic": basic, "roundtrip/empty": empty, "roundtrip/every-count": everyCount,
    "roundtrip/contents": contents, "roundtrip/page-sizes": pageSizes,
    "roundtrip/packet-sizes": packetSizes, "roundtrip/page-order": pageOrder,
    "roundtrip/high-offsets": highOffsets, "roundtrip/zero-lists": zeroLists,
    "roundtrip/packet-numbers": packetNumbers, "roundtrip/stream": stream,
    "roundtrip/changing-pages": ChangingPages.check, "roundtrip/reference": Reference.roundtrip,
    "roundtrip/flags": flags, "roundtrip/payload-sizes": PayloadSizes.check,
    "roundtrip/long-stream": LongStream.check,
  ]

  @Sendable private static func basic(_ context: Context) throws(Stop) {
    let lane = try Lane(context, Shape(try context.library, pages: 16), content: Lane.mix)
    try lane.pass(Array(lane.source.offsets.prefix(8)))
    try lane.pass(Array(lane.source.offsets.suffix(3)))
    lane.close()
  }

  @Sendable private static func empty(_ context: Context) throws(Stop) {
    let library = try context.library
    let lane = try Lane(context, Shape(library, pages: 16), content: Lane.mix)
    let zero = Array(lane.source.offsets.suffix(4))
    // These pages pass as long as no empty packet has come before them, or it is not for this test
    // to say.
    lane.honestyRule = "roundtrip/basic"
    try lane.pass(Array(lane.source.offsets.prefix(5)))
    lane.honestyRule = nil
    // A host leaves out the call for a packet with nothing in it; with zero pages it makes it.
    for zeroes in [[], zero, Array(zero.prefix(1))] {
      try lane.pass([], zero: zeroes)
      try lane.pass(Array(lane.source.offsets.prefix(5)), zero: zeroes)
    }
    // Pages that the receiver has already: a packet of them says so at least.
    for _ in 0..<2 { try lane.pass(Array(lane.source.offsets.prefix(5))) }
    // The first packet of a channel, and the last.
    let fresh = try Lane(context, Shape(library, pages: 4), label: "fresh", .text)
    try fresh.pass([], zero: Array(fresh.source.offsets.prefix(2)))
    fresh.close()
  }

  @Sendable private static func everyCount(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library)
    let lane = try Lane(context, shape, content: Lane.light)
    var random = context.random("pages")
    let most = shape.pageCount
    let few = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 1, 128]
    let counts = context.order.isQuick ? few.filter { $0 <= most } : Array(1...most) + [1, most]
    for count in counts { try lane.pass(lane.source.pick(count, &random)) }
  }

  @Sendable private static func contents(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: context.rounds(32, quick: 16))
    for content in Content.allCases {
      let lane = try Lane(context, shape, label: content.rawValue, content)
      var random = context.random("pages" + content.rawValue)
      for count in [32, 1, 2, 32] {
        try lane.pass(lane.source.pick(min(count, shape.pageCount), &random))
      }
      lane.close()
    }
    try singleBytes(context)
    try collisions(context)
  }

  /// Pages that a checksum takes for one another: in one packet, and in one after the other.
  private static func collisions(_ context: Context) throws(Stop) {
    let kinds = Collision.allCases
    let shape = Shape(try context.library, pages: 2 * kinds.count)
    for content in [Content.text, .zero] {
      let lane = try Lane(
        context, shape, pages: 2 * kinds.count, label: "collisions\(content)", content)
      let pages = lane.source.offsets
      let pairs = zip(kinds, kinds.indices.map { (pages[2 * $0], pages[2 * $0 + 1]) })
      for (kind, (one, other)) in pairs {
        memcpy(lane.source.page(at: other), lane.source.page(at: one), shape.pageSize)
        kind.make(lane.source.page(at: one), lane.source.page(at: other), shape.pageSize)
      }
      try lane.pass(Array(pages.prefix(shape.pageCount)))
      for part in [0, 1] {
        let some = stride(from: part, to: pages.count, by: 2).map { pages[$0] }
        try lane.pass(Array(some.prefix(shape.pageCount)))
      }
      lane.close()
    }
  }

  /// Pages full of each byte there is, and pages that are zero but for a byte: at each power of two,
  /// in front of it, and behind.
  private static func singleBytes(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 64)
    let lane = try Lane(context, shape, pages: shape.pageCount, label: "bytes", .zero)
    let powers = (0...30).map { 1 << $0 }.filter { $0 <= shape.pageSize }
    let places = Set(powers.flatMap { [$0 - 1, $0, $0 + 1] }).filter { $0 < shape.pageSize }
    var kinds: [(byte: UInt8, place: Int?)] = (UInt8.min...(.max)).map { ($0, nil) }
    kinds += places.sorted().map { (0x5a, $0) }
    for start in stride(from: 0, to: kinds.count, by: shape.pageCount) {
      let some = kinds[start..<min(start + shape.pageCount, kinds.count)]
      for (kind, offset) in zip(some, lane.source.offsets) {
        let page = lane.source.page(at: offset)
        memset(page, kind.place == nil ? Int32(kind.byte) : 0, shape.pageSize)
        if let place = kind.place {
          page.storeBytes(of: kind.byte, toByteOffset: place, as: UInt8.self)
        }
      }
      try lane.pass(Array(lane.source.offsets.prefix(some.count)))
    }
    lane.close()
  }

  /// Bits that a peer's packets may have, or will have one day, besides those of the method.
  @Sendable private static func flags(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 8)
    for bit in 0..<32 where !methodBits.contains(bit) {
      var flagged = shape
      flagged.flags = 1 << UInt32(bit)
      let lane = try Lane(context, flagged, label: "\(bit)", content: Lane.mix)
      for count in [8, 0, 3] { try lane.pass(Array(lane.source.offsets.prefix(count))) }
      lane.close()
    }
  }

  /// The bits in which QEMU tells the method.
  private static let methodBits = 1...5

  private static func pass(_ shapes: [Shape], _ context: Context) throws(Stop) -> Int {
    let library = try context.library
    var tried = 0
    for shape in shapes where library.supports(shape.pageSize, shape.pageCount) {
      if tried > 2, !context.hasTime { break }
      tried += 1
      let most = shape.pageCount
      // In haste packets of hundreds of pages are not filled: it is their number that counts.
      let full = context.order.isQuick && most > 129 ? 3 : most
      // Nor is every large page of theirs what a slow codec is slowest with.
      let isLarge = context.order.isQuick && shape.pageSize > 1 << 17
      let isLong = most > 32 || context.order.isQuick && shape.pageSize * most > 1 << 18
      let lane = try Lane(context, shape, pages: full + (isLarge ? 1 : 3), label: shape.text) {
        isLarge && $0 % 4 != 1 ? .sparse : isLong ? Lane.light($0) : Lane.mix($0)
      }
      var random = context.random("pages" + shape.text)
      var counts = [1, full]
      // In haste only one end or both of what is large: a slow codec takes longest for it.
      if !context.order.isQuick || shape.pageSize * most <= 1 << 18 {
        for count in [2, (most + 1) / 2] where count < most && count > 1 { counts.append(count) }
      } else if isLarge, shape.pageSize * most > 1 << 20 {
        counts = [1]
      }
      for count in counts { try lane.pass(lane.source.pick(count, &random)) }
      lane.close()
    }
    return tried
  }

  @Sendable private static func pageSizes(_ context: Context) throws(Stop) {
    // All that there are, in packets of half a megabyte, and some larger ones.
    var shapes = (12...21).map { log in
      Shape(pageSize: 1 << log, pageCount: max(2, 1 << (19 - log)))
    }
    if !context.order.isQuick {
      shapes += [Shape(pageSize: 65536, pageCount: 64), Shape(pageSize: 1 << 21, pageCount: 4)]
    }
    if try pass(shapes, context) == 0 { throw .skipped("supports none of the usual sizes") }
    if !context.order.isQuick { try largePayload(context) }
  }

  /// A payload of more than 16 MiB, if pages of noise become one.
  private static func largePayload(_ context: Context) throws(Stop) {
    let shape = Shape(pageSize: 1 << 21, pageCount: 9)
    guard try context.library.supports(shape.pageSize, shape.pageCount) else { return }
    let lane = try Lane(context, shape, pages: 9, label: "large", .random)
    try lane.pass(lane.source.offsets)
    lane.close()
  }

  @Sendable private static func packetSizes(_ context: Context) throws(Stop) {
    let size = try context.library.pageSize
    let powers = (0...10).map { 1 << $0 }
    let counts = Set(powers.flatMap { [$0 - 1, $0, $0 + 1] } + [100, 1000]).subtracting([0])
    let shapes = counts.sorted().map { Shape(pageSize: size, pageCount: $0) }
    if try pass(shapes, context) == 0 { throw .skipped("supports none of the usual sizes") }
  }

  @Sendable private static func pageOrder(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 48)
    let lane = try Lane(context, shape, content: context.manyPages)
    let all = lane.source.offsets
    var random = context.random("pages")
    let evens = all.enumerated().filter { $0.offset % 2 == 0 }.map(\.element)
    let odds = all.enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
    var orders = [all, all.reversed(), odds + evens, all.shuffled(using: &random)]
    orders.append(Array(all[(all.count / 2)...] + all[..<(all.count / 2)]))
    for order in orders { try lane.pass(Array(order.prefix(shape.pageCount))) }
  }

  /// Offsets that do not fit into 32 bits, signed and unsigned. The block is address space, hardly
  /// memory.
  @Sendable private static func highOffsets(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 8)
    let size = UInt64(shape.pageSize)
    let marks: [UInt64] = [0, 1 << 31, 1 << 32, 3 << 31, (1 << 33) + (1 << 20)]
    let offsets = marks.flatMap { mark in
      mark == 0 ? [0] : [mark / size * size - size, mark / size * size]
    }
    // Where 32 bits of an offset lead there are pages, too: the wrong ones.
    let all = Array(Set(offsets + offsets.map { $0 & 0xffff_ffff }))
    let source = Block(pageSize: shape.pageSize, offsets: all, kind: .source)
    let target = Block(pageSize: shape.pageSize, offsets: all, kind: .target)
    var random = context.random("content")
    source.fill(.random, &random)
    source.allow(.reading)
    let send = try SendDriver(context, shape)
    let receive = try ReceiveDriver(context, shape)
    for list in [Array(offsets.suffix(4)), Array(offsets.reversed().prefix(8)), [offsets[0]]] {
      let pages = Array(list.prefix(shape.pageCount))
      let payload = send.prepare(source, pages)
      try context.demand(payload.status, "send_prepare()")
      target.poison()
      let status = receive.receive(payload.bytes, target, pages)
      try context.require(status.isOK, "recv() returns \(status)")
      for offset in target.offsets {
        let good =
          pages.contains(offset) ? source.equals(target, at: offset) : target.isPoisoned(offset)
        try context.require(good, "the page at offset \(offset) is not what it should be")
      }
    }
  }

  @Sendable private static func zeroLists(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 32)
    let lane = try Lane(context, shape, content: Lane.mix)
    var random = context.random("pages")
    for count in [0, 1, 8, 16] {
      let pages = lane.source.pick(32, &random)
      try lane.pass(Array(pages.prefix(16)), zero: Array(pages[16..<min(16 + count, pages.count)]))
    }
  }

  @Sendable private static func packetNumbers(_ context: Context) throws(Stop) {
    let lane = try Lane(context, Shape(try context.library, pages: 8), content: Lane.mix)
    var random = context.random("pages")
    let numbers: [UInt64] = [0, 1, 2, 5, 6, 1000, (1 << 32) - 1, 1 << 32, (1 << 32) + 3, 1 << 60]
    for number in numbers { try lane.pass(lane.source.pick(4, &random), number: number) }
  }

  @Sendable private static func stream(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library)
    let lane = try Lane(context, shape, pages: 200, content: Lane.mix)
    var random = context.random("pages")
    let patience = Patience(context, milliseconds: 30)
    for _ in 0..<context.rounds(600, quick: 150) {
      // Of a slow codec it is the number of packets that counts.
      if patience.isOver {
        try lane.pass(lane.source.pick(1, &random))
        continue
      }
      // Few pages mostly, as towards the end of a migration.
      let isLarge = Int.random(in: 0..<context.rounds(8, quick: 16), using: &random) == 0
      let most = isLarge ? shape.pageCount : context.rounds(12, quick: 6)
      try lane.pass(lane.source.pick(Int.random(in: 0...most, using: &random), &random))
    }
  }
}
