// Send side of `zstd`.
import CZstd
import PluginAPI

/// A channel's state.
struct Sender: ~Copyable {
  let geometry: Geometry
  let compressor: Compressor
  /// Where pages are copied to before zstd sees them: one piece of a page when the frame is
  /// endless, a whole packet when each packet is a frame.
  let input: Memory<UInt8>
  let output: Memory<UInt8>
  let isPacketAFrame: Bool

  /// For the endless frame. Divides every page size; small enough to stay in the first-level cache
  /// between the copy and zstd.
  static let pieceSize = 4096

  init(_ params: UnsafeMutablePointer<MultiFDSendParams>) throws(Failure) {
    let host = Host(params)
    let geometry = try Geometry(params.pointee)
    let options = params.pointee.options
    let isPacketAFrame = options[Option.stream].number == StreamChoice.packet
    let input = try Memory<UInt8>(
      host, count: isPacketAFrame ? geometry.packetSize : Self.pieceSize)
    // As long as the bound and no longer: zstd cannot write a payload that breaks the promise.
    let output = try Memory<UInt8>(host, count: geometry.bound)
    let compressor = try Compressor()
    try compressor.configure(
      level: Int(options[Option.level].number), windowLog: Int(options[Option.windowLog].number),
      frameSize: isPacketAFrame ? geometry.packetSize : nil)
    self.geometry = geometry
    self.compressor = compressor
    self.input = input
    self.output = output
    self.isPacketAFrame = isPacketAFrame
  }

  /// Compresses the pages of one packet into `output`, which stays as it is until the next call.
  ///
  /// The guest may write to a page meanwhile, and zstd reads its input several times unless it
  /// happens to buffer it (it compresses in place when it is handed everything with the final
  /// call). So zstd only ever sees a private copy, each byte of which is either old or new.
  func prepare(_ params: UnsafeMutablePointer<MultiFDSendParams>) throws(Failure) {
    var pages = try Pages(
      params.pointee.normal, count: params.pointee.normal_num, geometry: geometry)
    guard let block = params.pointee.host, pages.byteCount > 0 else { return }
    params.setPayload(
      output.base, isPacketAFrame ? try frame(block, &pages) : try feed(block, &pages))
  }

  /// The next part of the endless frame: all pages, then a flush, so that the receiver has all of
  /// it and the frame goes on.
  private func feed(_ block: UnsafePointer<UInt8>, _ pages: inout Pages) throws(Failure) -> Int {
    var out = ZSTD_outBuffer(dst: output.base, size: output.count, pos: 0)
    while let piece = pages.next(atMost: input.count) {
      // The piece lies inside the block and is readable; `input` is ours and long enough.
      UnsafeMutableRawPointer(input.base)
        .copyMemory(from: block + piece.offset, byteCount: piece.count)
      var buffer = ZSTD_inBuffer(src: input.base, size: piece.count, pos: 0)
      try compressor.feed(&buffer, &out, flush: false)
    }
    var nothing = ZSTD_inBuffer(src: nil, size: 0, pos: 0)
    try compressor.feed(&nothing, &out, flush: true)
    return out.pos
  }

  /// The packet as a frame of its own.
  private func frame(_ block: UnsafePointer<UInt8>, _ pages: inout Pages) throws(Failure) -> Int {
    var filled = 0
    while let piece = pages.next() {
      // As above; the pieces add up to at most packetSize, the length of `input`.
      UnsafeMutableRawPointer(input.base + filled)
        .copyMemory(from: block + piece.offset, byteCount: piece.count)
      filled += piece.count
    }
    return try compressor.frame(input.base, filled, output)
  }
}
