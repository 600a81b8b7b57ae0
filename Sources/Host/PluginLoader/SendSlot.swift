import Glibc
import PluginAPI

/// What one packet of a send channel needs while a backend has it: a channel has as many as may be
/// in flight.
///
/// All its memory stays at one address for as long as it lives, which is as long as its channel.
final class SendSlot {
  /// What a backend of packets in flight is shown. The others get the same members in their params.
  let packet: UnsafeMutablePointer<MultiFDSendPacket>
  /// Room for pieces: `page_count + 16`.
  let iov: UnsafeMutablePointer<MultiFDIOVec>
  /// Where a packet's pages are copied to, one after the other, and their offsets there; nil when
  /// the backend reads guest pages themselves.
  private let copy: (pages: UnsafeMutableRawPointer, offsets: UnsafeMutablePointer<UInt64>)?
  private let pageSize: Int

  init(
    _ number: Int, _ geometry: ChannelGeometry, copies: Bool, what: String
  ) throws(PluginError) {
    let pageSize = Int(geometry.pageSize), pageCount = Int(geometry.pageCount)
    self.pageSize = pageSize
    if copies {
      // At most 1 GiB * 2^24, which is below 2^63; that there is so much is for posix_memalign to
      // say.
      var pages: UnsafeMutableRawPointer?
      guard posix_memalign(&pages, 4096, pageSize * pageCount) == 0, let pages else {
        throw PluginError(
          .noMemory, what: what, why: "there is no memory for copies of its pages")
      }
      let offsets = UnsafeMutablePointer<UInt64>.allocate(capacity: pageCount)
      for index in 0..<pageCount { (offsets + index).initialize(to: UInt64(index * pageSize)) }
      copy = (pages, offsets)
    } else {
      copy = nil
    }
    iov = .allocate(capacity: pageCount + 16)
    memset(iov, 0, (pageCount + 16) * MemoryLayout<MultiFDIOVec>.stride)
    packet = zeroed(MultiFDSendPacket.self)
    packet.pointee.struct_size = UInt32(MemoryLayout<MultiFDSendPacket>.size)
    packet.pointee.slot = UInt32(number)
    packet.pointee.iov = iov
  }

  deinit {
    packet.deallocate()
    iov.deallocate()
    if let copy {
      free(copy.pages)
      copy.offsets.deallocate()
    }
  }

  /// Whether the backend is asked at all: of no pages there is nothing to make.
  var isEmpty: Bool { packet.pointee.normal_num == 0 && packet.pointee.zero_num == 0 }

  /// Whether the backend reads copies, which lie at other offsets than the pages do.
  var copies: Bool { copy != nil }

  /// Takes a packet's pages: where the backend finds them, or a copy that holds still.
  ///
  /// The caller's pointers are put where the backend reads them; they are valid for as long as the
  /// interface promises (the caller sees to that).
  func take(
    _ base: UnsafeRawPointer?, _ normal: UnsafeBufferPointer<UInt64>,
    _ zero: UnsafeBufferPointer<UInt64>, reference: UnsafePointer<UInt8>?, flags: UInt32,
    packetNumber: UInt64
  ) {
    packet.pointee.packet_num = packetNumber
    packet.pointee.host = nil
    packet.pointee.normal = normal.baseAddress
    packet.pointee.normal_num = UInt32(normal.count)
    packet.pointee.zero = zero.baseAddress
    packet.pointee.zero_num = UInt32(zero.count)
    packet.pointee.reference = reference
    packet.pointee.flags = flags
    packet.pointee.next_packet_size = 0
    packet.pointee.iovs_num = 0
    guard let base, normal.count > 0 else { return }
    guard let copy else {
      packet.pointee.host = base.assumingMemoryBound(to: UInt8.self)
      return
    }
    for (index, offset) in normal.enumerated() {
      // `index` is below page_count, for which the copy has room; the page is inside its block by
      // the caller's word. The guest may write to it meanwhile: memcpy takes what it finds.
      memcpy(copy.pages + index * pageSize, base + Int(truncatingIfNeeded: offset), pageSize)
    }
    packet.pointee.host = UnsafePointer(copy.pages.assumingMemoryBound(to: UInt8.self))
    packet.pointee.normal = UnsafePointer(copy.offsets)
  }
}
