import Foundation
import Memory
import Transport
import Wire

/// What a QEMU that has the RAM files mapped still needs: the block list, the blocks it could not map, and
/// the devices. Half a megabyte, whatever the size of the guest.
struct FailoverStream {
  let guest: HeldGuest
  let mapped: Set<String>

  /// Sends the stream over the main channel, and waits for QEMU's verdict.
  ///
  /// - Parameter beforeDevices: called when all is sent but the devices: until they are there, QEMU
  ///   cannot start the guest.
  func send(to socket: Socket, beforeDevices: () throws -> Void) throws {
    let manifest = guest.manifest
    var encoder = StreamEncoder()
    encoder.fileHeader()
    encoder.configuration(
      Configuration(
        machine: manifest.machine, pageBits: manifest.pageBits,
        capabilities: [Configuration.ignoreShared],
        uuid: manifest.validateUUID ? manifest.uuid.flatMap { VMUUID($0) } : nil))
    encoder.command(.openReturnPath)
    encoder.command(.ping(1))
    encoder.raw(guest.earlyState)
    let ram = manifest.ramSection
    encoder.beginSection(.start, id: ram, name: "ram", instance: 0, version: 4)
    encoder.ramBlocks(addresses(), ignoreShared: true)
    encoder.endOfRAMSection()
    encoder.footer(id: ram)
    encoder.beginSection(.end, id: ram, name: "ram", instance: 0, version: 4)
    for (index, block) in guest.blocks.enumerated() where !mapped.contains(block.name) {
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
        if encoder.bytes.count > 1 << 18 { try socket.write(encoder.take()) }
      }
    }
    encoder.endOfRAMSection()
    encoder.footer(id: ram)
    encoder.command(.ping(Self.lastPing))
    try socket.write(encoder.take())
    var answers = ReturnPathReader(socket)
    try awaitPong(&answers)
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

  /// The PING behind everything but the devices.
  private static let lastPing: UInt32 = 2

  /// Waits until QEMU has taken all that was sent. A machine type or a block that does not fit, or a QEMU
  /// that stands still, shows here, while the guest is ours for certain.
  private func awaitPong(_ answers: inout ReturnPathReader) throws {
    while let message = try answers.next() {
      if message == .pong(Self.lastPing) { return }
      if case .shut(let value) = message {
        throw TransportError(
          .closed, "QEMU ended the load with \(value): its own message is above")
      }
    }
    throw TransportError(.closed, "QEMU closed the connection: its own message is above")
  }

  /// The block list. QEMU compares the guest address of a shared block with its own: machine memory of
  /// one piece begins at 0, several pieces (NUMA nodes) follow one another.
  private func addresses() -> [RAMBlockDescription] {
    var next: UInt64 = 0
    return guest.manifest.blocks.map { block in
      var address: UInt64 = 0
      if mapped.contains(block.name) {
        address = next
        next += block.length
      }
      return RAMBlockDescription(
        name: block.name, usedLength: block.length, pageSize: nil, guestAddress: address)
    }
  }
}
