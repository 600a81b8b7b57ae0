import PluginAPI

/// What one packet of a receive channel needs while a backend has it: a channel has as many as may
/// be in flight. Its memory stays at one address for as long as the channel lives.
final class ReceiveSlot {
  /// What a backend of packets in flight is shown. The others get the same members in their params.
  let packet: UnsafeMutablePointer<MultiFDRecvPacket>

  init(_ number: Int) {
    packet = zeroed(MultiFDRecvPacket.self)
    packet.pointee.struct_size = UInt32(MemoryLayout<MultiFDRecvPacket>.size)
    packet.pointee.slot = UInt32(number)
  }

  deinit { packet.deallocate() }

  /// Whether the backend is asked at all: of no pages there is nothing to fill.
  var isEmpty: Bool { packet.pointee.normal_num == 0 && packet.pointee.zero_num == 0 }

  /// Takes a packet's pages. The caller's pointers are put where the backend reads them; they are
  /// valid for as long as the interface promises (the caller sees to that).
  func take(
    _ base: UnsafeMutableRawPointer?, _ normal: UnsafeBufferPointer<UInt64>,
    _ zero: UnsafeBufferPointer<UInt64>, reference: UnsafePointer<UInt8>?, payloadSize: Int,
    flags: UInt32, packetNumber: UInt64
  ) {
    packet.pointee.packet_num = packetNumber
    packet.pointee.host =
      normal.count == 0 ? nil : base?.assumingMemoryBound(to: UInt8.self)
    packet.pointee.normal = normal.baseAddress
    packet.pointee.normal_num = UInt32(normal.count)
    packet.pointee.zero = zero.baseAddress
    packet.pointee.zero_num = UInt32(zero.count)
    packet.pointee.reference = reference
    packet.pointee.flags = flags
    packet.pointee.next_packet_size = UInt32(payloadSize)
  }
}
