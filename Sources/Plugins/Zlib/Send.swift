// Send side of `zlib`.
import CZlib
import PluginAPI

/// A channel's state.
struct Sender: ~Copyable {
  let geometry: Geometry
  let stream: Stream
  let output: Memory<UInt8>

  /// Divides every page size, so the way a page is cut never depends on its neighbours.
  static let pieceSize = 4096

  init(_ params: UnsafeMutablePointer<MultiFDSendParams>) throws(Failure) {
    let host = Host(params)
    let geometry = try Geometry(params.pointee)
    // As long as the bound and no longer: zlib cannot write a payload that breaks the promise.
    let output = try Memory<UInt8>(host, count: geometry.bound)
    let level = Int32(truncatingIfNeeded: params.pointee.options[Option.level].number)
    // Window 32 KiB and memory level 8: zlib's defaults, and what stock QEMU uses.
    let stream = try Stream(host, end: deflateEnd) { stream in
      deflateInit_(stream, level, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    }
    self.geometry = geometry
    self.stream = stream
    self.output = output
  }

  /// Compresses the pages of one packet into `output`, which stays as it is until the next call.
  ///
  /// zlib's own code copies its input into its window with one read, but zlib.h promises nothing,
  /// and its hardware ports read the input several times: so the pages must hold still
  /// (STABLE_INPUT), and the host copies those that do not.
  func prepare(_ params: UnsafeMutablePointer<MultiFDSendParams>) throws(Failure) {
    var pages = try Pages(
      params.pointee.normal, count: params.pointee.normal_num, geometry: geometry)
    guard let block = params.pointee.host, pages.byteCount > 0 else { return }
    let stream = stream.pointer
    stream.pointee.next_out = output.base
    // Fits: Geometry has checked that the bound has 32 bits.
    stream.pointee.avail_out = UInt32(truncatingIfNeeded: output.count)
    var left = pages.byteCount
    while let piece = pages.next(atMost: Self.pieceSize) {
      left -= piece.count
      // The piece lies inside the block and is readable, and it is only read: the pointer is
      // mutable because zlib's is.
      stream.pointee.next_in = UnsafeMutablePointer(mutating: block + piece.offset)
      stream.pointee.avail_in = UInt32(truncatingIfNeeded: piece.count)
      // One flush, at the packet's end: the receiver then has all of it, and the stream goes on. A
      // full one: what follows refers to nothing before it.
      let status = deflate(stream, left == 0 ? Z_FULL_FLUSH : Z_NO_FLUSH)
      // No room left may mean that zlib holds back a part, which would break the promised bound.
      guard status == Z_OK, stream.pointee.avail_in == 0, stream.pointee.avail_out > 0 else {
        throw .internal("zlib needs more room than payload_bound() says")
      }
    }
    params.setPayload(output.base, output.count - Int(stream.pointee.avail_out))
  }
}
