// Send side of `nocomp`: iov entries that point into guest pages.
import PluginAPI

/// A channel's state: what it was set up for.
struct Sender: ~Copyable {
  let geometry: Geometry

  init(_ params: UnsafeMutablePointer<MultiFDSendParams>) throws(Failure) {
    let geometry = try Geometry(params.pointee)
    guard params.pointee.iovs_max >= geometry.pageCount else {
      throw .internal("the host's iov array is shorter than a packet has pages")
    }
    self.geometry = geometry
  }

  /// Neighbouring pages become one entry. The guest may write to a page until the kernel has read
  /// it: any bytes are a valid payload here (MULTIFD_CAP_ZERO_COPY), so this needs no copy.
  func prepare(_ params: UnsafeMutablePointer<MultiFDSendParams>) throws(Failure) {
    var pages = try Pages(
      params.pointee.normal, count: params.pointee.normal_num, geometry: geometry)
    guard let block = params.pointee.host, pages.byteCount > 0 else { return }
    // The cast away of const is the ABI's: an iovec has no const, and nobody writes through these.
    let base = UnsafeMutableRawPointer(mutating: block)
    var used = 0
    while let piece = pages.next() {
      // Inside the block. used < normal_num <= page_count <= iovs_max: a piece is at least a page.
      params.pointee.iov[used] = MultiFDIOVec(iov_base: base + piece.offset, iov_len: piece.count)
      used += 1
    }
    params.pointee.iovs_num = UInt32(truncatingIfNeeded: used)
    // Fits: Geometry has checked that a whole packet has 32 bits.
    params.pointee.next_packet_size = UInt32(truncatingIfNeeded: pages.byteCount)
  }
}
