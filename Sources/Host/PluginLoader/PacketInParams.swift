import PluginAPI

// A backend that has one packet at a time finds in its params what others get in a struct of the
// packet's. Both hosts do it the same way: this one, and the harness's.

extension UnsafeMutablePointer<MultiFDSendParams> {
  /// Shows a packet that is to be encoded.
  package func show(_ packet: MultiFDSendPacket) {
    pointee.packet_num = packet.packet_num
    pointee.host = packet.host
    pointee.normal = packet.normal
    pointee.zero = packet.zero
    pointee.normal_num = packet.normal_num
    pointee.zero_num = packet.zero_num
    pointee.flags = packet.flags
    pointee.reference = packet.reference
    pointee.next_packet_size = 0
    pointee.iov = packet.iov
    pointee.iovs_num = 0
  }
}

extension UnsafeMutablePointer<MultiFDSendPacket> {
  /// Takes back what has become of it.
  package func takeResult(of params: UnsafeMutablePointer<MultiFDSendParams>) {
    pointee.next_packet_size = params.pointee.next_packet_size
    pointee.iov = params.pointee.iov
    pointee.iovs_num = params.pointee.iovs_num
  }
}

extension UnsafeMutablePointer<MultiFDRecvParams> {
  /// Shows a packet that is to be decoded.
  package func show(_ packet: MultiFDRecvPacket) {
    pointee.packet_num = packet.packet_num
    pointee.host = packet.host
    pointee.normal = packet.normal
    pointee.zero = packet.zero
    pointee.normal_num = packet.normal_num
    pointee.zero_num = packet.zero_num
    pointee.flags = packet.flags
    pointee.next_packet_size = packet.next_packet_size
    pointee.reference = packet.reference
  }
}
