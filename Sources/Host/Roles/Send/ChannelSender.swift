import Memory
import Migration
import Observe
import PluginLoader
import Transport
import Wire

/// One multifd channel of a hand-over, in a thread of its own: takes stretches of RAM, sends what
/// is not zero.
final class ChannelSender {
  private let id: Int
  private let source: PageSource
  private let writer: PacketWriter
  private let encoders: PacketEncoders
  /// For pages of which this side has what the far side has.
  private let deltas: DeltaSender?
  private let numbers: PacketWriter.Numbers
  private let pageSize: Int
  private var box: PacketBox
  /// Zero pages that have not been told yet.
  private var found: [PageSource.Piece] = []
  var counters: Counters { writer.counters }
  /// What formats were chosen: for when its thread has ended.
  var uses: [FormatUse] { encoders.uses }
  /// Pages that were sent as differences.
  var deltaPages: Int { deltas?.pages ?? 0 }

  init(
    id: Int, channels: Int, socket: Socket, source: PageSource, formats: [OutgoingFormat],
    pageSize: Int, verification: PacketEncoders.Verification?, numbers: PacketWriter.Numbers,
    deltas: DeltaSender?
  ) throws {
    self.id = id
    self.source = source
    self.pageSize = pageSize
    self.numbers = numbers
    self.deltas = deltas
    encoders = PacketEncoders(
      formats, id: id, channels: { channels }, pageSize: pageSize,
      verification: verification)
    try encoders.open()
    writer = PacketWriter(socket, pageSize: pageSize)
    box = encoders.pool.take()
  }

  /// Sends the init packet.
  func begin(_ uuid: VMUUID) throws { try writer.begin(MultiFDInit(uuid: uuid, id: UInt8(id))) }

  /// Sends a SYNC for each sync point before the pages, pages until there are none left, then a
  /// SYNC for each sync point that is to come.
  func run(syncs: (before: Int, after: Int)) throws {
    defer { source.workerDone() }
    for _ in 0..<syncs.before { try sync() }
    while let piece = source.piece() {
      if piece.block != box.packet.block {
        try finishBlock()
        begin(piece.block)
        deltas?.begin(piece.block, named: source.blocks[piece.block].name)
      }
      let zero = try source.scan(piece) { (offset) throws -> Void in
        if try takesDelta(offset, of: piece.block) { return }
        box.packet.append(normal: UInt64(offset))
        if box.packet.normal.count == box.packet.capacity {
          try flush()
          begin(piece.block)
        }
      }
      tell(zero, atLeast: 256)
      counters.zeroPages(zero.reduce(0) { $0 + $1.range.count / pageSize })
    }
    tell([], atLeast: 1)
    try finishBlock()
    try encoders.settle(to: writer)
    for _ in 0..<syncs.after { try sync() }
  }

  /// Zero pages are for the main channel to send: told now and then, for it is woken by it.
  private func tell(_ zero: [PageSource.Piece], atLeast count: Int) {
    found += zero
    guard found.count >= count else { return }
    source.foundZero(found)
    found.removeAll(keepingCapacity: true)
  }

  private func begin(_ index: Int) {
    let block = source.blocks[index]
    // The block's mapping lives as long as the source, and this object has that.
    box.packet.begin(block: index, named: block.name, host: block.base)
  }

  /// Whether a page goes as a difference.
  private func takesDelta(_ offset: Int, of index: Int) throws -> Bool {
    // The page lies inside the block, which the source has mapped.
    guard let deltas, try deltas.takes(source.blocks[index].base + offset, at: offset) else {
      return false
    }
    if deltas.isFull {
      try deltas.flush(numbers, to: writer)
      deltas.begin(index, named: source.blocks[index].name)
    }
    return true
  }

  /// Sends the rest of a block's pages.
  private func finishBlock() throws {
    try flush()
    try deltas?.flush(numbers, to: writer)
  }

  private func flush() throws {
    guard box.packet.hasPages else { return }
    box.packet.close(number: numbers.next())
    try encoders.submit(box, to: writer)
    box = encoders.pool.take()
  }

  private func sync() throws {
    try encoders.sync(number: numbers.next(), in: &box.packet, to: writer)
  }
}
