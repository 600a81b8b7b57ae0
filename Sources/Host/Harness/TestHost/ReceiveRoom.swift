import Glibc
import PluginAPI

/// What one packet of the receive side needs while a backend has it, as SendRoom.
final class ReceiveRoom {
  let packet: UnsafeMutablePointer<MultiFDRecvPacket>
  private let packetMemory: GuardedMemory
  private let normal: PageLists
  private let zero: PageLists
  /// The packet's pages.
  private(set) var block: Block?
  private(set) var offsets: [UInt64] = []

  init(_ number: Int, _ shape: Shape) {
    normal = PageLists(capacity: shape.pageCount)
    zero = PageLists(capacity: shape.pageCount)
    let size = MemoryLayout<MultiFDRecvPacket>.size
    packetMemory = GuardedMemory(
      size + shape.extra, alignment: 8, kind: .params, behind: shape.behind)
    packet = packetMemory.base.bindMemory(to: MultiFDRecvPacket.self, capacity: 1)
    // All zero, so packet_data is NULL; a later host's part stays 0xa5.
    memset(packet, 0, size)
    packet.pointee.struct_size = UInt32(size + shape.extra)
    packet.pointee.slot = UInt32(number)
  }

  /// Another packet: its pages go to `block` at `offsets`.
  func take(
    _ block: Block?, _ offsets: [UInt64], _ zeroes: [UInt64], _ flags: UInt32, _ number: UInt64,
    _ payloadSize: Int, _ reference: Block?
  ) {
    (self.block, self.offsets) = (block, offsets)
    packet.pointee.packet_num = number
    packet.pointee.host =
      offsets.isEmpty ? nil : block?.base.assumingMemoryBound(to: UInt8.self)
    packet.pointee.normal = normal.show(offsets)
    packet.pointee.zero = zero.show(zeroes)
    packet.pointee.normal_num = UInt32(offsets.count)
    packet.pointee.zero_num = UInt32(zeroes.count)
    packet.pointee.flags = flags
    packet.pointee.next_packet_size = UInt32(payloadSize)
    packet.pointee.reference =
      reference.map { UnsafePointer($0.base.assumingMemoryBound(to: UInt8.self)) }
  }

  /// The packet's lists are off limits from now on.
  func hide() {
    normal.hide()
    zero.hide()
  }
}
