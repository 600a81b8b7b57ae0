import CHarness
import PluginAPI

/// A sender and a receiver with several packets in flight. Each packet has a block to itself while
/// it is, and nobody may touch that before and after.
///
/// @unchecked Sendable: used by one thread at a time.
final class Convoy: @unchecked Sendable {
  /// What goes in one packet: some pages of a block.
  struct Cargo {
    let block: Int
    let offsets: [UInt64]
    /// What the sender compares with, and the same for the receiver, in another place.
    var image: (sent: Block, received: Block)?

    /// The first page of it, without a reference.
    var first: Cargo { Cargo(block: block, offsets: Array(offsets.prefix(1))) }
  }

  let context: Context
  let shape: Shape
  let sender: SendDriver
  private(set) var receiver: ReceiveDriver
  private let sources: [Block]
  private let targets: [Block]

  init(_ context: Context, _ shape: Shape, label: String = "") throws(Stop) {
    self.context = context
    self.shape = shape
    sender = try SendDriver(context, shape)
    receiver = try ReceiveDriver(context, shape)
    try context.require(sender.setup.isOK, "send_setup() returns \(sender.setup)")
    try context.require(receiver.setup.isOK, "recv_setup() returns \(receiver.setup)")
    var random = context.random("convoy" + label)
    // One more than packets: the one that is over is not the next one's.
    let count = max(sender.depth, receiver.depth) + 1
    func blocks(_ kind: MemoryKind) -> [Block] {
      (0..<count).map { _ in Block(pageSize: shape.pageSize, pages: shape.pageCount, kind: kind) }
    }
    (sources, targets) = (blocks(.source), blocks(.target))
    for (number, block) in sources.enumerated() {
      block.fill(&random) { Lane.mix($0 + number) }
      block.allow(.nothing, kind: .staleBlock)
    }
    for block in targets { block.allow(.nothing, kind: .staleBlock) }
  }

  /// Another receiver in the place of this one.
  func renewReceiver() throws(Stop) {
    receiver.close()
    receiver = try ReceiveDriver(context, shape)
    try context.require(receiver.setup.isOK, "recv_setup() returns \(receiver.setup)")
  }

  /// So many packets' cargo.
  func load(_ count: Int, _ random: inout Seeded) -> [Cargo] {
    (0..<count).map { number in
      let block = number % sources.count
      let pages = Int.random(in: 1...shape.pageCount, using: &random)
      return Cargo(block: block, offsets: sources[block].pick(pages, &random))
    }
  }

  /// The same cargo, each with a reference of its own: an image of all pages, so that another
  /// packet's makes other pages.
  func refer(_ cargo: [Cargo], _ random: inout Seeded) -> [Cargo] {
    let kinds = Nearness.allCases
    return cargo.enumerated().map { number, item in
      var item = item
      let source = sources[item.block]
      let sent = Block(referenceOf: source, source.offsets, &random) {
        $0 % 3 == 0 ? kinds[(number + $0) % kinds.count] : .close
      }
      item.image = (sent, Block(copyOf: sent))
      return item
    }
  }

  /// Encodes packets, so many in flight at most.
  ///
  /// - Parameter rests: each is worked on as far as it can be before one is asked for: what two of
  ///   them have in common meets for certain, and not only where processors are idle.
  func send(_ cargo: [Cargo], window: Int, rests: Bool = false) throws(Stop) -> [Packet] {
    var made: [Packet] = []
    let window = min(window, sender.depth)
    for item in cargo {
      try submit(item)
      if rests { Self.rest() }
      if sender.inFlight == window { made.append(try complete(cargo[made.count])) }
    }
    while made.count < cargo.count { made.append(try complete(cargo[made.count])) }
    return made
  }

  private static func rest() { charness_rest(50_000_000) }

  func submit(_ item: Cargo) throws(Stop) {
    sources[item.block].allow(.reading, kind: .source)
    try context.demand(
      sender.submit(sources[item.block], item.offsets, reference: item.image?.sent),
      "send_submit() of an honest packet")
  }

  func complete(_ item: Cargo) throws(Stop) -> Packet {
    let payload = sender.complete()
    try context.demand(payload.status, "send_complete() of an honest packet")
    sources[item.block].allow(.nothing, kind: .staleBlock)
    item.image?.sent.allow(.nothing, kind: .staleBlock)
    return Packet(offsets: item.offsets, payload: payload.bytes)
  }

  /// Decodes packets, so many in flight at most, and compares.
  ///
  /// - Parameter rests: as in ``send(_:window:rests:)``.
  func deliver(
    _ packets: [Packet], _ cargo: [Cargo], window: Int, rests: Bool = false
  ) throws(Stop) {
    var done = 0
    let window = min(window, receiver.depth)
    for (packet, item) in zip(packets, cargo) {
      try context.demand(take(packet, item), "recv_submit() of an honest packet")
      if rests { Self.rest() }
      if receiver.inFlight == window {
        try arrive(cargo[done])
        done += 1
      }
    }
    for item in cargo[done...] { try arrive(item) }
  }

  /// Gives the receiver one more packet.
  func take(_ packet: Packet, _ item: Cargo, announced: Int? = nil) -> CallStatus {
    let target = targets[item.block]
    target.allow(.writing, kind: .target)
    target.poison()
    return receiver.submit(
      packet.payload, announced: announced, target, item.offsets, reference: item.image?.received)
  }

  /// The oldest packet is there, and its pages are what was sent.
  func arrive(_ item: Cargo) throws(Stop) {
    try context.demand(receiver.complete(), "recv_complete() of an honest packet")
    let (source, target) = (sources[item.block], targets[item.block])
    let sent = Set(item.offsets)
    for offset in target.offsets {
      if sent.contains(offset) {
        try context.require(
          source.equals(target, at: offset),
          "the page at \(offset) of a packet in flight is not what was sent")
      } else {
        try context.require(
          target.isPoisoned(offset), as: "bounds/other-pages",
          "a page at \(offset) was written that is not in the packet")
      }
    }
    target.allow(.nothing, kind: .staleBlock)
    item.image?.received.allow(.nothing, kind: .staleBlock)
  }

  /// From now on nobody may touch any page.
  func forbid() {
    for block in sources + targets { block.allow(.nothing, kind: .staleBlock) }
  }

  /// Ends both sides.
  func close() {
    sender.close()
    receiver.close()
  }
}
