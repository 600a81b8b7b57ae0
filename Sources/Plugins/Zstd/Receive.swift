// Receive side of `zstd`.
import CZstd
import PluginAPI

/// A channel's state.
struct Receiver: ~Copyable {
  let host: Host
  let geometry: Geometry
  let decompressor: Decompressor
  var framing = Framing()
  /// A packet's payload.
  let input: Memory<UInt8>

  init(_ params: UnsafeMutablePointer<MultiFDRecvParams>) throws(Failure) {
    let host = Host(params)
    let geometry = try Geometry(params.pointee)
    let input = try Memory<UInt8>(host, count: geometry.bound)
    let windowLog = max(
      windowLogOfDefaults, Int(params.pointee.options[Option.windowLog].number))
    let decompressor = try Decompressor()
    try decompressor.limit(windowLog: windowLog)
    self.host = host
    self.geometry = geometry
    self.decompressor = decompressor
    self.input = input
  }

  /// Decodes one packet: an endless frame, or frames that end and start anywhere in it. (Stock QEMU
  /// refuses a frame that ends inside a page. Here it is harmless: what counts is that the payload
  /// yields exactly the pages.)
  ///
  /// zstd writes only between an output buffer's start and its size, and that is always a piece of
  /// this packet's pages, so no payload can write anywhere else.
  mutating func receive(_ params: borrowing MultiFDRecvParams) throws(Failure) {
    var pages = try Pages(params.normal, count: params.normal_num, geometry: geometry)
    let size = Int(params.next_packet_size)
    guard size <= input.count else { throw .corrupt("the payload is longer than any of zstd's") }
    guard let block = params.host, pages.byteCount > 0 else {
      guard size == 0 else { throw .corrupt("a payload without pages") }
      return
    }
    try host.read(input.base, size)
    try framing.follow(input.base, size)
    var payload = ZSTD_inBuffer(src: input.base, size: size, pos: 0)
    while let piece = pages.next() {
      var output = ZSTD_outBuffer(dst: block + piece.offset, size: piece.count, pos: 0)
      while output.pos < output.size {
        try decompressor.step(
          &output, &payload, stuck: "the payload ends before its last page")
      }
    }
    // What follows the last page may be a frame's end, but nothing that makes output.
    while payload.pos < payload.size {
      var full = ZSTD_outBuffer(dst: input.base, size: 0, pos: 0)
      try decompressor.step(
        &full, &payload, stuck: "the payload is more than the packet's pages")
    }
    guard !decompressor.hasSurplus() else {
      throw .corrupt("the payload is more than the packet's pages")
    }
  }
}
