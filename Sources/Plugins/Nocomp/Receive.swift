// Receive side of `nocomp`: one readv straight into the pages.
import PluginAPI

/// A channel's state: room for the pieces of one packet.
struct Receiver: ~Copyable {
  let host: Host
  let geometry: Geometry
  let iov: Memory<MultiFDIOVec>

  init(_ params: UnsafeMutablePointer<MultiFDRecvParams>) throws(Failure) {
    let host = Host(params)
    let geometry = try Geometry(params.pointee)
    // A ~Copyable value is made in one go: everything that can fail comes before the members.
    let iov = try Memory<MultiFDIOVec>(host, count: geometry.pageCount)
    self.host = host
    self.geometry = geometry
    self.iov = iov
  }

  func receive(_ params: borrowing MultiFDRecvParams) throws(Failure) {
    var pages = try Pages(params.normal, count: params.normal_num, geometry: geometry)
    guard pages.byteCount == Int(params.next_packet_size) else {
      throw .corrupt("the payload is not as long as the packet's pages")
    }
    // The host gives a block whenever there are pages; each piece lies inside it, and is made of
    // pages of this packet only.
    guard let block = params.host else { return }
    var used = 0
    while let piece = pages.next() {
      // used < normal_num <= page_count: a piece is at least one page.
      iov.base[used] = MultiFDIOVec(iov_base: block + piece.offset, iov_len: piece.count)
      used += 1
    }
    if used > 0 { try host.readv(iov.base, used) }
  }
}
