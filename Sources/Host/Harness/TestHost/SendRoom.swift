import Glibc
import PluginAPI

/// What one packet of the send side needs while a backend has it: lists and pieces in memory of
/// their own, and the struct that a backend of packets in flight gets.
final class SendRoom {
  /// Exactly iovs_max entries in front of the guard page.
  let iov: GuardedMemory
  let packet: UnsafeMutablePointer<MultiFDSendPacket>
  private let packetMemory: GuardedMemory
  private let normal: PageLists
  private let zero: PageLists
  /// The packet's pages.
  private(set) var block: Block?
  private(set) var offsets: [UInt64] = []
  /// The payload of the packet before and the pieces it was gathered from, to see that they stay.
  var last: (pieces: [MultiFDIOVec], bytes: [UInt8])?

  init(_ number: Int, _ shape: Shape) {
    normal = PageLists(capacity: shape.pageCount)
    zero = PageLists(capacity: shape.pageCount)
    iov = GuardedMemory((shape.pageCount + 16) * 16, alignment: 16, kind: .iov)
    let size = MemoryLayout<MultiFDSendPacket>.size
    packetMemory = GuardedMemory(
      size + shape.extra, alignment: 8, kind: .params, behind: shape.behind)
    packet = packetMemory.base.bindMemory(to: MultiFDSendPacket.self, capacity: 1)
    // All zero, so packet_data is NULL; a later host's part stays 0xa5.
    memset(packet, 0, size)
    packet.pointee.struct_size = UInt32(size + shape.extra)
    packet.pointee.slot = UInt32(number)
    packet.pointee.iov = iovs
  }

  /// The array of pieces.
  var iovs: UnsafeMutablePointer<MultiFDIOVec> {
    iov.base.assumingMemoryBound(to: MultiFDIOVec.self)
  }

  /// Another packet: the pages of `block` at `offsets`.
  func take(
    _ block: Block?, _ offsets: [UInt64], _ zeroes: [UInt64], _ flags: UInt32, _ number: UInt64,
    _ reference: Block?
  ) {
    (self.block, self.offsets) = (block, offsets)
    packet.pointee.packet_num = number
    packet.pointee.host =
      offsets.isEmpty
      ? nil : block.map { UnsafePointer($0.base.assumingMemoryBound(to: UInt8.self)) }
    packet.pointee.normal = normal.show(offsets)
    packet.pointee.zero = zero.show(zeroes)
    packet.pointee.normal_num = UInt32(offsets.count)
    packet.pointee.zero_num = UInt32(zeroes.count)
    packet.pointee.flags = flags
    packet.pointee.next_packet_size = 0
    packet.pointee.iovs_num = 0
    packet.pointee.reference =
      reference.map { UnsafePointer($0.base.assumingMemoryBound(to: UInt8.self)) }
  }

  /// The packet's lists are off limits from now on.
  func hide() {
    normal.hide()
    zero.hide()
  }
}
