// Send side of `zlib`.
import CZlib
import PluginAPI

/// A channel's state.
struct Sender: ~Copyable {
  let geometry: Geometry
  let stream: Stream
  /// The piece of a page that zlib is working on.
  let input: Memory<UInt8>
  let output: Memory<UInt8>

  /// Divides every page size, so the way a page is cut never depends on its neighbours; small
  /// enough to stay in the first-level cache between the copy and zlib.
  static let pieceSize = 4096

  init(_ params: UnsafeMutablePointer<MultiFDSendParams>) throws(Failure) {
    let host = Host(params)
    let geometry = try Geometry(params.pointee)
    let input = try Memory<UInt8>(host, count: Self.pieceSize)
    // As long as the bound and no longer: zlib cannot write a payload that breaks the promise.
    let output = try Memory<UInt8>(host, count: geometry.bound)
    let level = Int32(truncatingIfNeeded: params.pointee.options[Option.level].number)
    // Window 32 KiB and memory level 8: zlib's defaults, and what stock QEMU uses.
    let stream = try Stream(host, end: deflateEnd) { stream in
      deflateInit_(stream, level, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    }
    self.geometry = geometry
    self.stream = stream
    self.input = input
    self.output = output
  }

  /// Compresses the pages of one packet into `output`, which stays as it is until the next call.
  ///
  /// The guest may write to a page meanwhile. zlib's own code copies its input into its window with
  /// one read, but zlib.h promises nothing, and its hardware ports read the input several times, so
  /// each piece is copied first: zlib sees bytes that nobody changes, each either old or new. This
  /// costs about a hundredth of the compression.
  func prepare(_ params: UnsafeMutablePointer<MultiFDSendParams>) throws(Failure) {
    var pages = try Pages(
      params.pointee.normal, count: params.pointee.normal_num, geometry: geometry)
    guard let block = params.pointee.host, pages.byteCount > 0 else { return }
    let stream = stream.pointer
    stream.pointee.next_out = output.base
    // Fits: Geometry has checked that the bound has 32 bits.
    stream.pointee.avail_out = UInt32(truncatingIfNeeded: output.count)
    var left = pages.byteCount
    while let piece = pages.next(atMost: input.count) {
      // The piece lies inside the block and is readable; `input` is ours and long enough.
      UnsafeMutableRawPointer(input.base)
        .copyMemory(from: block + piece.offset, byteCount: piece.count)
      left -= piece.count
      stream.pointee.next_in = input.base
      stream.pointee.avail_in = UInt32(truncatingIfNeeded: piece.count)
      // One flush, at the packet's end: the receiver then has all of it, and the stream goes on.
      let status = deflate(stream, left == 0 ? Z_SYNC_FLUSH : Z_NO_FLUSH)
      // No room left may mean that zlib holds back a part, which would break the promised bound.
      guard status == Z_OK, stream.pointee.avail_in == 0, stream.pointee.avail_out > 0 else {
        throw .internal("zlib needs more room than payload_bound() says")
      }
    }
    params.setPayload(output.base, output.count - Int(stream.pointee.avail_out))
  }
}
