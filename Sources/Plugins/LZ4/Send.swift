// Send side of `lz4`.
import PluginAPI

/// A channel's state.
struct Sender: ~Copyable {
  let geometry: Geometry
  let compressor: Compressor
  /// A segment of pages.
  let input: Memory<UInt8>
  let output: Memory<UInt8>

  init(_ params: UnsafeMutablePointer<MultiFDSendParams>) throws(Failure) {
    let host = Host(params)
    let geometry = try Geometry(params.pointee)
    let compressor = try Compressor(host, options: params.pointee.options)
    let input = try Memory<UInt8>(host, count: min(Format.segmentSize, geometry.packetSize))
    let output = try Memory<UInt8>(host, count: geometry.bound)
    self.geometry = geometry
    self.compressor = compressor
    self.input = input
    self.output = output
  }

  /// Compresses the pages of one packet into `output`, which stays as it is until the next call.
  ///
  /// The guest may write to a page meanwhile, and LZ4 reads its input several times: it would find
  /// a match that is gone when it is copied. So each segment is copied first, which brings
  /// scattered pages together too; LZ4 sees bytes that nobody changes, each either old or new, and
  /// MULTIFD_CAP_STABLE_INPUT is not needed.
  func prepare(_ params: UnsafeMutablePointer<MultiFDSendParams>) throws(Failure) {
    var pages = try Pages(
      params.pointee.normal, count: params.pointee.normal_num, geometry: geometry)
    guard let block = params.pointee.host, pages.byteCount > 0 else { return }
    let segments = Format.segments(pages.byteCount)
    var used = segments * Format.entrySize
    var left = pages.byteCount
    for segment in 0..<segments {
      let size = min(left, Format.segmentSize)
      left -= size
      var filled = 0
      while filled < size, let piece = pages.next(atMost: size - filled) {
        // The piece lies inside the block and is readable; `input` is ours and has `size` bytes.
        UnsafeMutableRawPointer(input.base + filled)
          .copyMemory(from: block + piece.offset, byteCount: piece.count)
        filled += piece.count
      }
      // Bodies are never longer than their segments, so `size` bytes are left behind `used`.
      let entry = write(size, at: output.base + used)
      entry.write(output.base + segment * Format.entrySize)
      used += entry.length
    }
    params.setPayload(output.base, used)
  }

  /// Writes a body for the `size` bytes of `input`. A block must save a part in 64: less than that
  /// is not worth decoding, and raw pages are read straight into place.
  private func write(_ size: Int, at body: UnsafeMutablePointer<UInt8>) -> Format.Entry {
    if let length = compressor.block(input.base, size, body, room: size - size / 64) {
      return Format.Entry(.block, length: length)
    }
    UnsafeMutableRawPointer(body).copyMemory(from: input.base, byteCount: size)
    return Format.Entry(.raw, length: size)
  }
}
