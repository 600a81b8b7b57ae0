import Foundation
import Memory
import Migration
import Store
import Transport
import Wire

/// What a QEMU that has the RAM files mapped still needs: the block list, the blocks that it has not mapped, and
/// the devices. Half a megabyte, whatever the size of the guest.
///
/// It has two parts. The first, all but the devices, can be sent as often as one likes to a QEMU that is not going
/// to have the guest: that is the rehearsal. The second goes on over the same connection.
final class FailoverStream {
  private let socket: Socket
  private let manifest: Manifest
  /// Names of the blocks that are sent.
  private let streamed: Set<String>
  private var encoder = StreamEncoder()
  private var answers: ReturnPathReader
  private var lastPing: UInt32 = 1
  /// Bytes of blocks that were sent, with what says where they belong.
  private(set) var streamedBytes = 0

  /// - Parameter socket: to a QEMU that waits in `migrate-incoming`.
  init(_ socket: Socket, _ manifest: Manifest, streamed: [String]) {
    (self.socket, self.manifest, self.streamed) = (socket, manifest, Set(streamed))
    answers = ReturnPathReader(socket)
  }

  /// Sends all that comes before the devices, and waits until QEMU has taken it. A machine type or a block that
  /// does not fit, or a QEMU that stands still, shows here.
  ///
  /// - Parameters:
  ///   - earlyState: sections that come before the RAM's pages.
  ///   - pages: the blocks to send now; those of a standby may be changing.
  func begin(earlyState: [UInt8], pages: [RAMBlock]) throws {
    encoder.fileHeader()
    encoder.configuration(
      Configuration(
        machine: manifest.machine, pageBits: manifest.pageBits,
        uuid: manifest.validateUUID ? manifest.uuid.flatMap { VMUUID($0) } : nil))
    encoder.command(.openReturnPath)
    encoder.command(.ping(lastPing))
    encoder.raw(earlyState)
    let ram = manifest.ramSection
    encoder.beginSection(.start, id: ram, name: "ram", instance: 0, version: 4)
    encoder.ramBlocks(
      manifest.blocks.map { RAMBlockDescription(name: $0.name, usedLength: $0.length) })
    encoder.endOfRAMSection()
    encoder.footer(id: ram)
    if !pages.isEmpty { try section(.part, pages) }
    try awaitPong()
  }

  /// Sends the rest, over the same connection, and waits for QEMU's verdict.
  ///
  /// - Parameter beforeDevices: called when all is sent but the devices: until they are there, QEMU
  ///   cannot start the guest.
  func finish(_ guest: HeldGuest, beforeDevices: () throws -> Void) throws {
    // Also what was sent before: it may have changed.
    try section(.end, guest.blocks.filter { streamed.contains($0.name) })
    try awaitPong()
    try beforeDevices()
    encoder.raw(guest.deviceState)
    if guest.vmDescription.isEmpty {
      encoder.vmDescription(Array("{}".utf8))
    } else {
      encoder.raw(guest.vmDescription)
    }
    try socket.write(encoder.take())
    socket.finishWriting()
    try answers.awaitVerdict()
  }

  /// A section with all pages of some blocks.
  private func section(_ kind: SectionKind, _ blocks: [RAMBlock]) throws {
    let ram = manifest.ramSection
    encoder.beginSection(kind, id: ram, name: "ram", instance: 0, version: 4)
    for block in blocks {
      guard let index = manifest.blocks.firstIndex(where: { $0.name == block.name }) else {
        continue
      }
      var extents = try block.dataExtents()[...]
      for offset in stride(from: 0, to: block.length, by: block.pageSize) {
        while let first = extents.first, first.upperBound <= offset { extents.removeFirst() }
        let page = block.base + offset
        // A hole is not looked at: that would make memory of it, and where there is none left a SIGBUS.
        if extents.first.map({ offset < $0.lowerBound }) ?? true
          || ZeroPage.isZero(page, count: block.pageSize)
        {
          encoder.zero(block: index, offset: UInt64(offset))
        } else {
          encoder.pageRecord(block: index, offset: UInt64(offset))
          // The page lies inside the block's mapping.
          encoder.raw(UnsafeRawBufferPointer(start: page, count: block.pageSize))
        }
        if encoder.bytes.count > 1 << 18 { try flush() }
      }
    }
    encoder.endOfRAMSection()
    encoder.footer(id: ram)
    try flush()
  }

  private func flush() throws {
    streamedBytes += encoder.bytes.count
    try socket.write(encoder.take())
  }

  /// Waits until QEMU has taken all that was sent.
  private func awaitPong() throws {
    lastPing += 1
    encoder.command(.ping(lastPing))
    try socket.write(encoder.take())
    while let message = try answers.next() {
      if message == .pong(lastPing) { return }
      if case .shut = message { break }
    }
    throw TransportError(.closed, "QEMU ended the load")
  }
}
