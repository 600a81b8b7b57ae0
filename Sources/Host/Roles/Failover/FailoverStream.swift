import Memory
import Migration
import Store
import Transport
import Wire

/// What a QEMU that has the RAM files mapped still needs: the block list, the blocks that it has
/// not mapped, and the devices. Half a megabyte, whatever the size of the guest.
///
/// All but the devices can be sent to a QEMU that is not going to have the guest: that is the
/// rehearsal. The rest goes on over the same connection.
final class FailoverStream {
  private let socket: Socket
  private let manifest: Manifest
  /// Names of the blocks that are sent.
  private let streamed: Set<String>
  private var stream: GuestStream
  private var answers: ReturnPathReader
  private var lastPing: UInt32 = 1
  /// Bytes of blocks that were sent, with what says where they belong.
  private(set) var streamedBytes = 0

  /// - Parameter socket: to a QEMU that waits in `migrate-incoming`.
  init(_ socket: Socket, _ manifest: Manifest, streamed: [String]) {
    (self.socket, self.manifest, self.streamed) = (socket, manifest, Set(streamed))
    stream = GuestStream(manifest)
    answers = ReturnPathReader(socket)
  }

  /// Sends all that comes before the devices, and waits until QEMU has taken it. A machine type or
  /// a block that does not fit, or a QEMU that stands still, shows here.
  ///
  /// - Parameters:
  ///   - earlyState: sections that come before the RAM's pages.
  ///   - pages: the blocks to send now; those of a standby may be changing.
  func begin(earlyState: [UInt8], pages: [RAMBlock]) throws {
    stream.head(ping: lastPing)
    stream.start(earlyState: earlyState)
    if !pages.isEmpty { try section(.part, pages) }
    try awaitPong()
  }

  /// Sends the RAM as it is at last, and waits until QEMU has taken it: all that is missing then is
  /// the devices, without which QEMU cannot start the guest.
  func endRAM(of guest: HeldGuest) throws {
    // Also what was sent before: it may have changed.
    try section(.end, guest.blocks.filter { streamed.contains($0.name) })
    try awaitPong()
  }

  /// Sends the devices, and waits for QEMU's verdict.
  func finish(_ guest: HeldGuest) throws {
    stream.devices(of: guest)
    try socket.write(stream.encoder.take())
    socket.finishWriting()
    try answers.awaitVerdict()
  }

  /// A section with all pages of some blocks.
  private func section(_ kind: SectionKind, _ blocks: [RAMBlock]) throws {
    stream.beginRAM(kind)
    for block in blocks {
      guard let index = manifest.blocks.firstIndex(where: { $0.name == block.name }) else {
        continue
      }
      var extents = try block.dataExtents()[...]
      for offset in stride(from: 0, to: block.length, by: block.pageSize) {
        while let first = extents.first, first.upperBound <= offset { extents.removeFirst() }
        let page = block.base + offset
        // A hole is not looked at: that would make memory of it, and where there is none left a
        // SIGBUS.
        if extents.first.map({ offset < $0.lowerBound }) ?? true
          || ZeroPage.isZero(page, count: block.pageSize)
        {
          stream.encoder.zero(block: index, offset: UInt64(offset))
        } else {
          stream.encoder.pageRecord(block: index, offset: UInt64(offset))
          // The page lies inside the block's mapping.
          stream.encoder.raw(UnsafeRawBufferPointer(start: page, count: block.pageSize))
        }
        if stream.encoder.bytes.count > 1 << 18 { try flush() }
      }
    }
    stream.endRAM()
    try flush()
  }

  private func flush() throws {
    streamedBytes += stream.encoder.bytes.count
    try socket.write(stream.encoder.take())
  }

  /// Waits until QEMU has taken all that was sent.
  private func awaitPong() throws {
    lastPing += 1
    stream.encoder.command(.ping(lastPing))
    try socket.write(stream.encoder.take())
    do { try answers.awaitPong(lastPing) } catch {
      // Which of the two it was says nothing: its own words do.
      let refused = (error as? Failure)?.cause == .refusedByDestination
      guard refused || (error as? TransportError)?.kind == .closed else { throw error }
      throw TransportError(.closed, "QEMU ended the load")
    }
  }
}
