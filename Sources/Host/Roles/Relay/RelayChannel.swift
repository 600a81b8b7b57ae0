import Migration
import Observe
import Synchronization
import Transport
import Wire

/// One multifd channel of a relay, in a thread of its own: a packet comes, and goes. No more are
/// held than backends are at work on, so that a far side which waits makes the source wait.
final class RelayChannel {
  private let reader: PacketReader
  private let writer: PacketWriter
  private let plan: RelayPlan
  private let traffic: RelayTraffic
  private let splice: Splice
  /// What packets have taken to decode.
  private var decoding = Duration.zero
  /// What of that, and of encoding, is in `traffic`.
  private var told = Duration.zero
  /// Opened when they are needed: most channels of a relay that passes on need none.
  private let encoders: PacketEncoders

  init(
    _ hello: MultiFDInit, _ reader: PacketReader, to far: Socket, _ plan: RelayPlan,
    _ traffic: RelayTraffic, _ throttle: Throttle, pageSize: Int,
    channels: @escaping () -> Int
  ) throws {
    self.reader = reader
    self.plan = plan
    self.traffic = traffic
    writer = PacketWriter(far, pageSize: pageSize, counters: traffic.sent, throttle: throttle)
    splice = try Splice()
    encoders = PacketEncoders(
      plan.outgoing, id: Int(hello.id), channels: channels, pageSize: pageSize)
    try writer.begin(hello)
  }

  /// Runs until the source closes the channel between two packets.
  func run() throws {
    defer {
      let uses = encoders.uses
      traffic.uses.withLock { $0 = uses }
    }
    let pool = encoders.pool
    var last = ContinuousClock.now
    while true {
      // Nothing has come yet: the time is well spent.
      if reader.inFlight + encoders.inFlight > 0, !reader.isReady { try settle() }
      let box = pool.take()
      guard try reader.next(&box.packet) else { break }
      let came = ContinuousClock.now
      traffic.waiting.add(came - last)
      traffic.received.count(box.packet)
      if let method = plan.passing(box.packet) {
        try settle()
        try writer.pass(box.packet, as: method, from: reader, through: splice)
        pool.put(box)
      } else {
        let isSync = box.packet.isSync
        try reader.submit(box, into: box.pages)
        decoding += .now - came
        while reader.isFull { try encode() }
        if isSync { try settle() }
      }
      tellCodec()
      last = .now
    }
    try settle()
    tellCodec()
  }

  /// Sends all that is here.
  private func settle() throws {
    while reader.inFlight > 0 { try encode() }
    try encoders.settle(to: writer)
  }

  /// Sends on the packet that came first.
  private func encode() throws {
    let begin = ContinuousClock.now
    let box = try reader.complete()
    decoding += .now - begin
    try encoders.submit(box, to: writer)
  }

  private func tellCodec() {
    let all = decoding + encoders.encoding
    traffic.codec.add(all - told)
    told = all
  }
}
