import Migration
import Observe
import Synchronization
import Transport
import Wire

/// One multifd channel of a relay, in a thread of its own: a packet comes, and goes. At most one is
/// held, so that a far side which waits makes the source wait.
final class RelayChannel {
  private let reader: PacketReader
  private let writer: PacketWriter
  private let plan: RelayPlan
  private let traffic: RelayTraffic
  private let splice: Splice
  private let scratch: ScratchPages
  /// Opened when they are needed: most channels of a relay that passes on need none.
  private let encoders: PacketEncoders

  init(
    _ hello: MultiFDInit, _ reader: PacketReader, to far: Socket, _ plan: RelayPlan,
    _ traffic: RelayTraffic, _ throttle: Throttle?, pageSize: Int,
    channels: @escaping () -> Int
  ) throws {
    self.reader = reader
    self.plan = plan
    self.traffic = traffic
    writer = PacketWriter(far, pageSize: pageSize, counters: traffic.sent, throttle: throttle)
    splice = try Splice()
    scratch = ScratchPages(pageSize: pageSize)
    encoders = PacketEncoders(
      plan.outgoing, id: Int(hello.id), channels: channels, pageSize: pageSize, verify: false)
    try writer.begin(hello)
  }

  /// Runs until the source closes the channel between two packets.
  func run() throws {
    defer {
      let uses = encoders.uses
      traffic.uses.withLock { $0 = uses }
    }
    var packet = Packet(pageSize: scratch.pageSize)
    var last = ContinuousClock.now
    while try reader.next(&packet) {
      let came = ContinuousClock.now
      traffic.waiting.add(came - last)
      traffic.received.count(packet)
      if let method = plan.passing(packet) {
        try writer.pass(packet, as: method, from: reader, through: splice)
      } else {
        try reader.take(&packet, into: scratch)
        let taken = ContinuousClock.now
        let sent = try encoders.write(packet, to: writer)
        traffic.codec.add(taken - came + sent.encoding)
      }
      last = .now
    }
  }
}
