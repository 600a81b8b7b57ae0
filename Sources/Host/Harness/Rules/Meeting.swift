import CHarness
import PluginAPI

/// Two channels that meet: a call of one is interrupted at a moment, and the other does what it has
/// to do from beginning to end meanwhile. What two threads come to by chance, once in a thousand
/// times, comes about.
///
/// @unchecked Sendable: each lane is one thread's while they meet, and compared when both have
/// ended.
final class Meeting: @unchecked Sendable {
  /// What they are at.
  enum Occasion {
    /// Both decode a packet; both encode one, which is decoded at once.
    case receiving, sending
    /// Both are set up, and the second has a packet.
    case opening
    /// The first is cleaned up, the last that there was; the second is set up and has a packet.
    case following
    /// The first is set up while the second, the last that there was, is cleaned up.
    case preceding
  }

  private let occasion: Occasion
  private let lanes: [Lane]
  private let pages: [UInt64]
  private var packets: [Packet] = []
  /// Of the pages of each, for a backend that can use one.
  private let images: [Block?]

  /// Has both channels ready to meet. Nobody else has the blocks meanwhile.
  init(
    _ context: Context, _ occasion: Occasion, blocks: [Blocks]
  ) throws(Stop) {
    self.occasion = occasion
    let shape = Shape(try context.library, pages: blocks[0].pages)
    var lanes: [Lane] = []
    for id in 0..<2 {
      let shape = shape.channel(id, of: 2)
      lanes.append(
        Lane(
          context, blocks[id].source, blocks[id].target,
          (
            try SendDriver(context, shape, sets: false),
            try ReceiveDriver(context, shape, sets: false)
          )))
    }
    self.lanes = lanes
    images = blocks.map(\.image)
    pages = Array(lanes[0].source.offsets.prefix(shape.pageCount))
    switch occasion {
    case .receiving, .sending: for lane in lanes { try lane.setUp() }
    case .opening: break
    case .following: try open(0)
    case .preceding: try open(1)
    }
    for lane in lanes { lane.target.poison() }
  }

  /// What two channels send and receive: made once for many meetings.
  struct Blocks {
    /// In a packet.
    let pages: Int
    let source: Block
    let target: Block
    let image: Block?
  }

  static func blocks(
    _ context: Context, pages: Int, content: (Int) -> Content = Lane.mix
  ) throws(Stop) -> [Blocks] {
    let shape = Shape(try context.library, pages: pages)
    let refers = try context.library.has(MULTIFD_CAP_REFERENCE)
    return (0..<2).map { id in
      func block(_ kind: MemoryKind) -> Block {
        Block(pageSize: shape.pageSize, pages: shape.pageCount + 6, kind: kind)
      }
      var random = context.random("content\(id)")
      let source = block(.source)
      source.fill(&random, content)
      source.allow(.reading)
      let image =
        refers
        ? Block(referenceOf: source, source.offsets, &random) { $0 % 3 == 0 ? .half : .close } : nil
      return Blocks(pages: pages, source: source, target: block(.target), image: image)
    }
  }

  private func open(_ id: Int) throws(Stop) {
    try lanes[id].setUp()
    try lanes[id].pass(pages, reference: images[id])
  }

  /// A packet of each while nobody else is at it. With a reference: what is wrong then is not for a
  /// test to say that is about two channels.
  func passAlone() throws(Stop) {
    for (lane, image) in zip(lanes, images) where image != nil {
      lane.honestyRule = "roundtrip/reference"
      defer { lane.honestyRule = nil }
      try lane.pass(pages, reference: image)
      lane.target.poison()
    }
  }

  /// They meet `delay` nanoseconds after the first one's beginning; with 0, one comes after the
  /// other. How long the first one took, in nanoseconds. Where both decode or encode, they may meet
  /// again.
  @discardableResult
  func run(_ delay: UInt64) throws(Stop) -> UInt64 {
    if occasion == .receiving {
      packets = []
      for (lane, image) in zip(lanes, images) {
        packets.append(try lane.send(pages, reference: image))
        lane.target.poison()
      }
    }
    let time = meet(after: delay) {
      call(0)
    } _: {
      call(1)
    }
    // Not meanwhile: moments are for what the backend does.
    if occasion == .receiving { for lane in lanes { try lane.compare(pages) } }
    return time
  }

  /// What is wrong is reported where it is seen.
  private func call(_ id: Int) {
    let lane = lanes[id]
    switch (occasion, id) {
    case (.receiving, _): try? lane.decode(packets[id], reference: images[id])
    case (.sending, _):
      lane.target.poison()
      if let packet = try? lane.send(pages, reference: images[id]) {
        _ = try? lane.take(packet, reference: images[id])
      }
    case (.opening, 0), (.preceding, 0): try? lane.setUp()
    case (.opening, _), (.following, 1): try? open(id)
    case (.following, _), (.preceding, _): lane.close()
    }
  }

  /// Once more, when both have ended: what one has done to the other may have come late.
  func compare() throws(Stop) {
    for (lane, image) in zip(lanes, images) where lane.isOpen {
      try lane.pass(pages, reference: image)
    }
  }

  /// Ends both channels.
  func close() { for lane in lanes { lane.close() } }
}

extension Meeting {
  /// Where the first one had come to when they met is not what was meant where a busy machine has
  /// kept it, or the signal: then they meet again, so often, until it is as near as that.
  private static let tries = 4, tolerance = 0.12

  /// Has two meet when the first has come to `wanted` of what it does, from 0 to 1.
  ///
  /// - Parameters:
  ///   - whole: the shortest that the first one has taken so far, in nanoseconds.
  ///   - once: has them meet after so many nanoseconds, and tells how long the first one took.
  static func near(
    _ wanted: Double, _ whole: inout UInt64, once: (UInt64) throws(Stop) -> UInt64
  ) throws(Stop) {
    var delay = Double(whole) * wanted
    for _ in 0..<tries {
      whole = min(whole, try once(max(1, UInt64(delay))))
      let error = wanted - charness_met_at()
      if abs(error) <= tolerance { return }
      delay = max(1, delay + error * Double(whole))
    }
  }

  /// Whether a few pages take as long as can be interrupted, and the run is a quick one.
  static func isSlow(_ context: Context) throws(Stop) -> Bool {
    guard context.order.isQuick else { return false }
    let lane = try Lane(context, Shape(try context.library, pages: 16), content: Lane.mix)
    defer { lane.close() }
    let pages = Array(lane.source.offsets.prefix(lane.sender.shape.pageCount))
    var cost = UInt64.max
    for _ in 0..<2 {
      let start = charness_thread_time()
      _ = try lane.send(pages)
      cost = min(cost, charness_thread_time() &- start)
    }
    return cost > 300_000
  }

  /// Packets of two channels that meet at some moments, in a process that may have seen others.
  static func ofPackets(_ context: Context, moments: Int) throws(Stop) {
    // Long ones: a fast codec has done with a few pages before it can be interrupted.
    let blocks =
      try isSlow(context)
      ? blocks(context, pages: 16, content: Lane.light) : blocks(context, pages: 64)
    for occasion in [Occasion.receiving, .sending] {
      let meeting = try Meeting(context, occasion, blocks: blocks)
      try meeting.passAlone()
      // The shortest of all: on a busy machine some have been kept waiting.
      var whole = UInt64.max
      for _ in 0..<3 { whole = min(whole, try meeting.run(0)) }
      // A slow codec is met less often.
      let moments = context.afford(moments, times: 2, each: 2 * whole)
      for moment in 1...moments where !context.hasFailed {
        try near(Double(moment) / Double(moments + 1), &whole, once: meeting.run)
      }
      if !context.hasFailed { try meeting.compare() }
      meeting.close()
    }
  }
}
