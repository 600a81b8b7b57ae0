// Send side of `nocomp`: iov entries that point into guest pages.
import PluginAPI

@c func sendSetup(_ params: UnsafeMutablePointer<MultiFDSendParams>) -> Int32 {
  Host(params).run { () throws(Failure) in
    let geometry = try Geometry(sending: params)
    guard params.pointee.iovs_max >= geometry.pageCount else {
      throw .internal("the host's iov array is shorter than a packet has pages")
    }
  }
}

/// Nothing was allocated: the geometry is read from the params again for each packet.
@c func sendCleanup(_ params: UnsafeMutablePointer<MultiFDSendParams>) {}

/// Neighbouring pages become one entry. The guest may write to a page until the kernel has read it:
/// any bytes are a valid payload here (MULTIFD_CAP_ZERO_COPY), so this needs no copy.
@c func sendPrepare(_ params: UnsafeMutablePointer<MultiFDSendParams>) -> Int32 {
  Host(params).run { () throws(Failure) in
    let geometry = try Geometry(sending: params)
    var pages = try Pages(
      params.pointee.normal, count: params.pointee.normal_num, geometry: geometry)
    params.pointee.next_packet_size = UInt32(truncatingIfNeeded: pages.byteCount)
    // The host gives a block whenever there are pages, and each piece lies inside it. The cast away
    // of const is the ABI's: an iovec has no const, and nobody writes through this one.
    guard let host = UnsafeMutableRawPointer(mutating: params.pointee.host) else { return }
    let iov = params.pointee.iov
    var used = 0
    while let piece = pages.next() {
      // used < normal_num <= page_count <= iovs_max: a piece is at least one page.
      iov[used] = MultiFDIOVec(iov_base: host + piece.offset, iov_len: piece.count)
      used += 1
    }
    params.pointee.iovs_num = UInt32(truncatingIfNeeded: used)
  }
}

extension Geometry {
  init(sending params: UnsafeMutablePointer<MultiFDSendParams>) throws(Failure) {
    let (size, count) = (params.pointee.page_size, params.pointee.page_count)
    try self.init(pageSize: size, pageCount: count, bound: payloadBound(size, count))
  }
}
