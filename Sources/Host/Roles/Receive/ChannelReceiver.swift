import COLO
import Migration
import Observe
import Transport
import Wire

/// One multifd channel of a reception, in a thread of its own: packets come in, pages go through
/// the backend and the stage, SYNCs are reported.
struct ChannelReceiver {
  private let socket: Socket
  private let session: Session
  private let reader: PacketReader
  private let pageSize: Int
  private let announced: Int?

  /// - Parameters:
  ///   - dialect: what the method bits mean.
  ///   - announced: the number that a link's hello has said.
  init(
    _ socket: Socket, _ session: Session, _ dialect: PacketDialect,
    _ backends: any PacketBackends, pageSize: Int, announced: Int? = nil
  ) {
    self.socket = socket
    self.session = session
    self.pageSize = pageSize
    self.announced = announced
    reader = PacketReader(
      .socket(socket, name: "the source"), pageSize: pageSize, dialect: dialect,
      backends: backends, channels: { session.channelCount })
  }

  /// Runs until the source closes the channel or the migration is over.
  func run() {
    // The backend's channel and the reader know each other.
    defer { reader.close() }
    do { try receive() } catch {
      // Once all is over, or something else has failed, sockets are cut under us: no news.
      if !session.isOver { session.fail(session.failure(error, at: reader.place)) }
    }
  }

  private func receive() throws {
    let channel = try session.register(try reader.begin(), socket, announced: announced)
    channel.counters.moved(bytes: MultiFDInit.size)
    let pool = PacketPool(pageSize: pageSize)
    /// Waits for packets that backends are at work on.
    func settle(until isDone: () -> Bool) throws {
      while !isDone() { pool.put(try reader.complete()) }
    }
    var stage: COLOStage?
    while true {
      // Nothing has come yet: the time is well spent.
      if reader.inFlight > 0, !reader.isReady { try settle { reader.inFlight == 0 } }
      let box = pool.take()
      guard try reader.next(&box.packet) else { break }
      let isSync = box.packet.isSync
      if box.packet.hasPages {
        // Known once the main channel has brought the block list, and from then on the same.
        let known = try stage ?? session.waitForStage()
        stage = known
        try channel.beginPages(at: reader.place)
        try reader.submit(box, into: known)
        channel.counters.count(box.packet)
        try settle { !reader.isFull }
      } else {
        channel.counters.count(box.packet)
        pool.put(box)
      }
      if isSync {
        try settle { reader.inFlight == 0 }
        try channel.synced()
      }
    }
    try settle { reader.inFlight == 0 }
    channel.ended()
  }
}
