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
      for offset in stride(from: 0, to: block.length, by: block.pageSize) {
        let page = block.base + offset
        if ZeroPage.isZero(page, count: block.pageSize) {
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
    try awaitPong(on: socket)
    try beforeDevices()
    encoder.raw(guest.deviceState)
    if guest.vmDescription.isEmpty {
      encoder.vmDescription(Array("{}".utf8))
    } else {
      encoder.raw(guest.vmDescription)
    }
    try socket.write(encoder.take())
    socket.finishWriting()
    try Verdict.await(on: socket)
  }

  /// The PING behind everything but the devices.
  private static let lastPing: UInt32 = 2

  /// Waits until QEMU has taken all that was sent. A machine type or a block that does not fit, or a QEMU
  /// that stands still, shows here, while the guest is ours for certain.
  private func awaitPong(on socket: Socket) throws {
    var input = InputBuffer(socket, capacity: 4096)
    var offset: UInt64 = 0
    while true {
      switch try ReturnPathMessage.decode(input.bytes, at: offset) {
      case .needMore(let missing):
        guard try input.require(input.bytes.count + missing, idle: false) else {
          throw TransportError(.closed, "QEMU closed the connection: its own message is above")
        }
      case .message(let message, let consumed):
        input.consume(consumed)
        offset += UInt64(consumed)
        if message == .pong(Self.lastPing) { return }
        if case .shut(let value) = message {
          throw TransportError(
            .closed, "QEMU ended the load with \(value): its own message is above")
        }
      }
    }
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
