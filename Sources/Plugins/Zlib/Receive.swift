// Receive side of `zlib`.
import CZlib
import PluginAPI

/// A channel's state.
struct Receiver: ~Copyable {
  let host: Host
  let geometry: Geometry
  let stream: Stream
  /// A packet's payload.
  let input: Memory<UInt8>

  init(_ params: UnsafeMutablePointer<MultiFDRecvParams>) throws(Failure) {
    let host = Host(params)
    let geometry = try Geometry(params.pointee)
    let input = try Memory<UInt8>(host, count: geometry.bound)
    let stream = try Stream(host, end: inflateEnd) { stream in
      inflateInit_(stream, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    }
    self.host = host
    self.geometry = geometry
    self.stream = stream
    self.input = input
  }

  /// Decodes one packet. zlib writes at most avail_out bytes at next_out, and those are always a
  /// piece of this packet's pages, so no payload can write anywhere else.
  func receive(_ params: borrowing MultiFDRecvParams) throws(Failure) {
    var pages = try Pages(params.normal, count: params.normal_num, geometry: geometry)
    let size = Int(params.next_packet_size)
    guard size <= input.count else { throw .corrupt("the payload is longer than any of zlib's") }
    guard let block = params.host, pages.byteCount > 0 else {
      guard size == 0 else { throw .corrupt("a payload without pages") }
      return
    }
    try host.read(input.base, size)
    let stream = stream.pointer
    stream.pointee.next_in = input.base
    stream.pointee.avail_in = params.next_packet_size
    while let piece = pages.next() {
      stream.pointee.next_out = block + piece.offset
      // Fits: Geometry has checked that a whole packet has 32 bits.
      stream.pointee.avail_out = UInt32(truncatingIfNeeded: piece.count)
      while stream.pointee.avail_out > 0 { try step(stream) }
    }
    try finish(stream)
  }

  /// One call of inflate. Each call that returns has made progress, so a loop around it ends.
  private func step(_ stream: z_streamp) throws(Failure) {
    switch inflate(stream, Z_SYNC_FLUSH) {
    case Z_OK: return
    case Z_BUF_ERROR: throw .corrupt("the payload ends before its last page")
    case Z_STREAM_END: throw .corrupt("the deflate stream ends, which it never does in a migration")
    case Z_NEED_DICT: throw .corrupt("the deflate stream wants a preset dictionary")
    case Z_MEM_ERROR: throw .noMemory
    case Z_DATA_ERROR: throw Failure(MULTIFD_ERROR_CORRUPT, stream.pointee.msg)
    default: throw .internal("zlib has lost its state")
    }
  }

  /// Uses up what follows the last byte of the last page: the flush, and nothing else.
  private func finish(_ stream: z_streamp) throws(Failure) {
    var surplus: UInt8 = 0
    while stream.pointee.avail_in > 0 {
      // Not an empty buffer, so that a byte too many shows instead of waiting for the next packet.
      // withUnsafeMutablePointer: zlib is given the address for this one call only.
      try withUnsafeMutablePointer(to: &surplus) { surplus throws(Failure) in
        stream.pointee.next_out = surplus
        stream.pointee.avail_out = 1
        try step(stream)
      }
      guard stream.pointee.avail_out == 1 else {
        throw .corrupt("the payload is more than the packet's pages")
      }
    }
    // 128: inflate stands right behind a block. Below that, the bits it has not used yet. Nothing
    // can come out of that state without more input, and a flush leaves no other: a payload that
    // ends elsewhere has lost its end.
    guard stream.pointee.data_type == 128 else {
      throw .corrupt("the payload does not end with a flush")
    }
  }
}
