import Glibc
import PluginAPI

/// One packet as it went over the wire.
struct Packet: Sendable {
  var offsets: [UInt64]
  var payload: [UInt8]
}

/// A sender, a receiver, and a block on each side.
///
/// @unchecked Sendable: used by one thread at a time.
final class Lane: @unchecked Sendable {
  let context: Context
  let sender: SendDriver
  let receiver: ReceiveDriver
  let source: Block
  let target: Block
  /// Whose rule it is that honest pages arrive; nil for the test that runs. Where channels exist
  /// side by side, it is theirs that they do not disturb one another.
  var honestyRule: String?
  private var number: UInt64 = 0

  /// A channel of `shape` in both directions, and a block of pages filled by `content`. The source
  /// can only be read from now on. The two sides are set up here, unless they are handed in.
  init(
    _ context: Context, _ shape: Shape, pages: Int? = nil, options: [String: String]? = nil,
    label: String = "", sides: (SendDriver, ReceiveDriver)? = nil, content: (Int) -> Content
  ) throws(Stop) {
    self.context = context
    let pages = pages ?? shape.pageCount + 6
    source = Block(pageSize: shape.pageSize, pages: pages, kind: .source)
    target = Block(pageSize: shape.pageSize, pages: pages, kind: .target)
    var random = context.random("content" + label)
    source.fill(&random, content)
    source.allow(.reading)
    if let sides {
      (sender, receiver) = sides
    } else {
      sender = try SendDriver(context, shape, options: options)
      receiver = try ReceiveDriver(context, shape, options: options)
    }
    try requireSetup()
  }

  /// The two sides, which are still to be set up, and blocks that are there.
  init(
    _ context: Context, _ source: Block, _ target: Block, _ sides: (SendDriver, ReceiveDriver)
  ) {
    self.context = context
    (self.source, self.target) = (source, target)
    (sender, receiver) = sides
  }

  /// Sets both sides up, if that has not been done.
  func setUp() throws(Stop) {
    sender.setUp()
    receiver.setUp()
    try requireSetup()
  }

  private func requireSetup() throws(Stop) {
    try context.require(sender.setup.isOK, "send_setup() returns \(sender.setup)")
    try context.require(receiver.setup.isOK, "recv_setup() returns \(receiver.setup)")
  }

  /// Neither side has been cleaned up.
  private(set) var isOpen = true

  /// The same with the same content in every page.
  convenience init(
    _ context: Context, _ shape: Shape, pages: Int? = nil, options: [String: String]? = nil,
    label: String = "", _ content: Content
  ) throws(Stop) {
    try self.init(context, shape, pages: pages, options: options, label: label) { _ in content }
  }

  /// Kinds of content by turns; every other page is a real guest's where a run was given some.
  static func mix(_ index: Int) -> Content {
    if PageFile.current != nil, index % 2 == 0 { return .ram }
    return [.ram, .text, .zero, .random, .mixed, .sparse, .ram, .awkward][index % 8]
  }

  /// The same kinds, most pages being such as cost a codec little: where it is their number that
  /// counts.
  static func light(_ index: Int) -> Content { index % 3 == 0 ? mix(index) : .word }

  /// Encodes; a status that is not OK ends the test.
  func send(
    _ offsets: [UInt64], zero: [UInt64] = [], number: UInt64? = nil, reference: Block? = nil
  ) throws(Stop) -> Packet {
    try context.requireTime()
    self.number = number ?? self.number + 1
    let payload = sender.prepare(
      source, offsets, zero: zero, number: self.number, reference: reference)
    try context.demand(
      payload.status, as: honestyRule, "send_prepare() of \(offsets.count) pages")
    return Packet(offsets: offsets, payload: payload.bytes)
  }

  /// Decodes what was sent and compares; a status that is not OK ends the test.
  func deliver(
    _ packet: Packet, zero: [UInt64] = [], number: UInt64? = nil, reference: Block? = nil
  ) throws(Stop) {
    target.poison()
    try take(packet, zero: zero, number: number, reference: reference)
  }

  /// The same; the target is poisoned already.
  ///
  /// - Parameter everywhere: whether to look for other pages that were written. That takes longer
  ///   than to decode a small packet; whoever does without asks ``expectPoison(_:)`` later.
  func take(
    _ packet: Packet, zero: [UInt64] = [], number: UInt64? = nil, reference: Block? = nil,
    everywhere: Bool = true
  ) throws(Stop) {
    try decode(packet, zero: zero, number: number, reference: reference)
    if everywhere { try compare(packet.offsets) } else { try expect(packet.offsets) }
  }

  /// Decodes what was sent, and compares nothing; a status that is not OK ends the test.
  func decode(
    _ packet: Packet, zero: [UInt64] = [], number: UInt64? = nil, reference: Block? = nil
  ) throws(Stop) {
    let status = receiver.receive(
      packet.payload, target, packet.offsets, zero: zero, number: number ?? self.number,
      reference: reference)
    guard status.isOK else {
      // An honest payload: if it asks for more than there is, that is what is wrong.
      if receiver.host.hasFailedService {
        context.fail(
          "recv() reads more than the \(packet.payload.count) bytes that there are",
          as: honestyRule ?? "bounds/payload-read")
      } else {
        context.fail(
          "recv() returns \(status) for a payload that send_prepare() made of "
            + "\(packet.offsets.count) pages", as: honestyRule)
      }
      throw .failed
    }
  }

  /// Whether the pages have arrived.
  private func expect(_ offsets: [UInt64]) throws(Stop) {
    for offset in offsets where !source.equals(target, at: offset) {
      context.fail(difference(offset, of: offsets), as: honestyRule)
      throw .failed
    }
  }

  /// Whether the pages have arrived, and no others were written.
  func compare(_ offsets: [UInt64]) throws(Stop) {
    try expect(offsets)
    let sent = Set(offsets)
    try expectPoison(target.offsets.filter { !sent.contains($0) })
  }

  /// Whether nobody has written these pages since they were poisoned.
  func expectPoison(_ offsets: [UInt64]) throws(Stop) {
    for offset in offsets {
      try context.require(
        target.isPoisoned(offset), as: "bounds/other-pages",
        "recv() wrote to the page at \(offset), which is not in the packet")
    }
  }

  private func difference(_ offset: UInt64, of offsets: [UInt64]) -> String {
    let (a, b) = (source.bytes(at: offset), target.bytes(at: offset))
    let at = zip(a, b).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? 0
    let place =
      offsets.firstIndex(of: offset).map { "page \($0 + 1) of \(offsets.count)" } ?? "page"
    return
      "\(place) (offset \(offset)) differs from byte \(at) on: sent \(a[at]), received \(b[at])"
  }

  /// There and back.
  func pass(
    _ offsets: [UInt64], zero: [UInt64] = [], number: UInt64? = nil, reference: Block? = nil
  ) throws(Stop) {
    try deliver(
      send(offsets, zero: zero, number: number, reference: reference), zero: zero, number: number,
      reference: reference)
  }

  /// Ends both sides.
  func close() {
    isOpen = false
    sender.close()
    receiver.close()
  }
}
