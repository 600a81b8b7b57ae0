// Receive side of `igzip`.
import CISAL
import PluginAPI

/// A channel's state.
struct Receiver: ~Copyable {
  let host: Host
  let geometry: Geometry
  let stream: Memory<inflate_state>
  /// A packet's payload.
  let input: Memory<UInt8>
  /// The stream's header has come.
  var hasBegun = false

  init(_ params: UnsafeMutablePointer<MultiFDRecvParams>) throws(Failure) {
    let host = Host(params)
    let geometry = try Geometry(params.pointee)
    let input = try Memory<UInt8>(host, count: geometry.bound)
    let stream = try Memory<inflate_state>(host, count: 1)
    // All of it, its window and tables too, so that nothing that a payload gives depends on what
    // was there. It is ours, and this long.
    UnsafeMutableRawPointer(stream.base)
      .initializeMemory(as: UInt8.self, repeating: 0, count: MemoryLayout<inflate_state>.size)
    isal_inflate_init(stream.base)
    // The header is looked at here, and the stream never comes to its checksum: ISA-L would make
    // one all the same, which takes it a twelfth of the time.
    stream.base.pointee.crc_flag = UInt32(ISAL_DEFLATE)
    self.host = host
    self.geometry = geometry
    self.stream = stream
    self.input = input
  }

  /// Decodes one packet. ISA-L writes at most avail_out bytes at next_out, and those are always a
  /// piece of this packet's pages, so no payload can write anywhere else. It keeps a window of its
  /// own: of the pages it reads what it has just written there, and nothing in a later call.
  mutating func receive(_ params: borrowing MultiFDRecvParams) throws(Failure) {
    var pages = try Pages(params.normal, count: params.normal_num, geometry: geometry)
    let size = Int(params.next_packet_size)
    guard size <= input.count else { throw .corrupt("the payload is longer than any of zlib's") }
    guard let block = params.host, pages.byteCount > 0 else {
      guard size == 0 else { throw .corrupt("a payload without pages") }
      return
    }
    try host.read(input.base, size)
    let header = hasBegun ? 0 : try Self.header(input.base, size)
    hasBegun = true
    let stream = stream.base
    stream.pointee.next_in = input.base + header
    // Fits, as `size` does.
    stream.pointee.avail_in = UInt32(truncatingIfNeeded: size - header)
    while let piece = pages.next() {
      stream.pointee.next_out = block + piece.offset
      // Fits: Geometry has checked that a whole packet has 32 bits.
      stream.pointee.avail_out = UInt32(truncatingIfNeeded: piece.count)
      while stream.pointee.avail_out > 0 {
        guard try step(stream) else { throw .corrupt("the payload ends before its last page") }
      }
    }
    try finish(stream)
  }

  /// The length of the stream's header, which is checked: RFC 1950, section 2.2.
  private static func header(_ bytes: UnsafePointer<UInt8>, _ size: Int) throws(Failure) -> Int {
    guard size >= 2 else { throw .corrupt("the payload ends inside the stream's header") }
    let (method, flags) = (bytes[0], bytes[1])
    guard method & 0xf == 8, method >> 4 <= 7, (Int(method) << 8 | Int(flags)) % 31 == 0 else {
      throw .corrupt("the stream does not begin with a zlib header")
    }
    guard flags & 0x20 == 0 else { throw .corrupt("the deflate stream wants a preset dictionary") }
    return 2
  }

  /// One call of inflate. False unless it used input or made output, so that a loop around it ends.
  private func step(_ stream: UnsafeMutablePointer<inflate_state>) throws(Failure) -> Bool {
    let before = (stream.pointee.avail_in, stream.pointee.avail_out)
    switch isal_inflate(stream) {
    case ISAL_DECOMP_OK, ISAL_END_INPUT, ISAL_OUT_OVERFLOW: break
    case ISAL_INVALID_BLOCK: throw .corrupt("a block that deflate does not have")
    case ISAL_INVALID_SYMBOL: throw .corrupt("a symbol that deflate does not have")
    case ISAL_INVALID_LOOKBACK:
      throw .corrupt("a match reaches back before the start of the stream")
    default: throw .corrupt("not a deflate stream")
    }
    let state = stream.pointee.block_state
    guard state != ISAL_BLOCK_FINISH, state != ISAL_BLOCK_INPUT_DONE, state != ISAL_CHECKSUM_CHECK
    else { throw .corrupt("the deflate stream ends, which it never does in a migration") }
    return (stream.pointee.avail_in, stream.pointee.avail_out) != before
  }

  /// Uses up what follows the last byte of the last page: the flush, and nothing else.
  private func finish(_ stream: UnsafeMutablePointer<inflate_state>) throws(Failure) {
    var surplus: UInt8 = 0
    // Not an empty buffer, so that a byte too many shows instead of waiting for the next packet.
    // withUnsafeMutablePointer: ISA-L is given the address for these calls only.
    try withUnsafeMutablePointer(to: &surplus) { surplus throws(Failure) in
      stream.pointee.next_out = surplus
      stream.pointee.avail_out = 1
      repeat {} while try step(stream) && stream.pointee.avail_out > 0
    }
    guard stream.pointee.avail_out == 1 else {
      throw .corrupt("the payload is more than the packet's pages")
    }
    // Between two blocks, with no bit left over: what every packet begins with.
    let state = stream.pointee.block_state
    guard stream.pointee.avail_in == 0, stream.pointee.read_in_length == 0,
      stream.pointee.tmp_in_size == 0, state == ISAL_BLOCK_NEW_HDR || state == ISAL_BLOCK_HDR
    else { throw .corrupt("the payload does not end with a flush") }
  }
}
