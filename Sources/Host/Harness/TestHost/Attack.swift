import CHarness
import Glibc
import PluginAPI

/// Honest packets of one channel, and receivers that are given something else instead.
final class Attack {
  let context: Context
  let shape: Shape
  let library: Library
  let source: Block
  let target: Block
  /// What the honest packets were made with.
  let reference: Block?
  /// Two packets in sequence: pages that compress, then pages of every kind.
  let packets: [Packet]
  /// Nanoseconds to set up a receiver.
  private let cost: UInt64

  /// With `nearness`, the packets are made with a reference of that kind. So many pages at most in
  /// a packet, and `room` in the blocks.
  init(
    _ context: Context, pages: Int = 6, room: Int = 12, nearness: Nearness? = nil
  ) throws(Stop) {
    self.context = context
    library = try context.library
    shape = Shape(library, pages: pages)
    let start = charness_now()
    try ReceiveDriver(context, shape).close()
    cost = charness_now() - start
    source = Block(pageSize: shape.pageSize, pages: room, kind: .source)
    target = Block(pageSize: shape.pageSize, pages: room, kind: .target)
    var random = context.random("content")
    source.fill(&random) { index in
      switch index {
      case 0..<3: .text
      case 3: .zero
      case 4: .sparse
      default: Lane.mix(index)
      }
    }
    source.allow(.reading)
    if let nearness {
      reference = Block(referenceOf: source, source.offsets, &random) { _ in nearness }
    } else {
      reference = nil
    }
    let send = try SendDriver(context, shape)
    try context.require(send.setup.isOK, "send_setup() returns \(send.setup)")
    let all = source.offsets
    var packets: [Packet] = []
    for list in [[all[0], all[1], all[3]], [all[5], all[2], all[4], all[0]]] {
      let offsets = Array(list.prefix(shape.pageCount))
      let payload = send.prepare(source, offsets, reference: reference)
      try context.demand(payload.status, "send_prepare()")
      packets.append(Packet(offsets: offsets, payload: payload.bytes))
    }
    self.packets = packets
  }

  /// As many of them as there is time for a receiver each, from the first to the last.
  func affordable<Element>(_ all: [Element]) -> [Element] {
    let most = context.afford(all.count, each: cost)
    return most < all.count ? (0..<most).map { all[$0 * all.count / most] } : all
  }

  /// The most that a header can announce.
  var limit: Int {
    let bound = library.bound(shape.pageSize, shape.pageCount)
    return library.methods.qemu_method == MULTIFD_QEMU_METHOD_UNKNOWN
      ? bound : min(bound, Int(MULTIFD_QEMU_MAX_PAYLOAD))
  }

  /// A receiver that has seen the first `count` honest packets.
  func receiver(after count: Int) throws(Stop) -> ReceiveDriver {
    try context.requireTime()
    let receiver = try ReceiveDriver(context, shape)
    try context.require(receiver.setup.isOK, "recv_setup() returns \(receiver.setup)")
    receiver.remembers = true
    for packet in packets.prefix(count) {
      let status = receiver.receive(
        packet.payload, target, packet.offsets, reference: reference)
      // It is the channel's own, so it decodes, whatever other channels have gone through.
      try context.require(
        status.isOK, as: "isolation/interleaved",
        "an honest packet on a fresh channel is refused: \(status)")
    }
    return receiver
  }

  /// Gives a receiver something that is not what it should be. True when it was accepted.
  ///
  /// Whatever it does, pages outside the packet stay as they are and the status is one for this.
  @discardableResult
  func hit(
    _ receiver: ReceiveDriver, _ payload: [UInt8], announced: Int? = nil, _ offsets: [UInt64],
    reference: Block? = nil, _ what: @autoclosure () -> String
  ) -> Bool {
    // A host looks at the announced size before it calls.
    guard (announced ?? payload.count) <= limit else { return false }
    target.poison()
    // Of the whole process: a backend may have threads of its own at work.
    let start = charness_process_time()
    let status = receiver.receive(
      payload, announced: announced, target, offsets, reference: reference)
    checkTime(charness_process_time() - start, what())
    let inPacket = Set(offsets)
    for offset in target.offsets where !inPacket.contains(offset) && !target.isPoisoned(offset) {
      context.fail(
        "\(what()): recv() wrote to the page at \(offset), which is not in the packet",
        as: "bounds/other-pages")
    }
    guard case .failed(let code, _) = status else {
      if status.isOK { checkAgain(receiver, offsets, what()) }
      return true
    }
    if code == MULTIFD_ERROR_INTERNAL {
      context.fail("\(what()): recv() returns \(status), not CORRUPT", as: "hostile/status")
    }
    return false
  }

  /// More processor time than any packet is worth, in nanoseconds.
  private static let mostTime: UInt64 = 250_000_000

  private func checkTime(_ time: UInt64, _ what: @autoclosure () -> String) {
    guard time > Self.mostTime, charness_sanitized() == 0 else { return }
    context.fail(
      "\(what()): recv() needs \(time / 1_000_000) ms of a processor", as: "hostile/time")
  }

  /// A payload that is accepted gives the same pages whatever was in memory before: another channel
  /// that has gone through the same gets it over other pages, with other memory from alloc().
  private func checkAgain(
    _ receiver: ReceiveDriver, _ offsets: [UInt64], _ what: @autoclosure () -> String
  ) {
    let pages = Set(offsets)
    let first = pages.map { ($0, Array(target.bytes(at: $0))) }
    guard
      let other = try? ReceiveDriver(
        context, shape.filled(with: Filling.other), options: receiver.options.assigned),
      other.setup.isOK
    else { return }
    var status = CallStatus.ok
    for packet in receiver.past where status.isOK {
      target.poison(with: Filling.other)
      status = other.receive(
        packet.payload, announced: packet.announced, target, packet.offsets,
        reference: packet.reference)
    }
    let isSame =
      status.isOK
      && first.allSatisfy { offset, bytes in
        bytes.withUnsafeBytes {
          // As many bytes as the page had when they were copied.
          memcmp($0.baseAddress!, target.page(at: offset), $0.count) == 0
        }
      }
    if !isSame {
      context.fail(
        "\(what()): accepted, and what it gives depends on what was in memory before",
        as: "hostile/stale-memory")
    }
  }

  /// Whether the target holds what packet `number` sent.
  func hasArrived(_ number: Int) -> Bool {
    packets[number].offsets.allSatisfy { source.equals(target, at: $0) }
  }

  /// Some of the places of a payload: all of a short one, both ends and some between of a long one.
  func places(_ count: Int, most: Int, _ random: inout Seeded) -> [Int] {
    guard count > most else { return Array(0..<count) }
    let edge = most / 4
    var places = Set(0..<edge)
    places.formUnion((count - edge)..<count)
    while places.count < most { places.insert(Int.random(in: 0..<count, using: &random)) }
    return places.sorted()
  }
}
