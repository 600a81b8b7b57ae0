// Send side of `zstd`.
import CZstd
import PluginAPI

/// A channel's state.
struct Sender: ~Copyable {
  let geometry: Geometry
  let compressor: Compressor
  /// Where the pages of a packet come together that are not neighbours; hardly any when the frame
  /// is endless.
  let input: Memory<UInt8>
  let output: Memory<UInt8>
  let isPacketAFrame: Bool

  /// What the endless frame is fed at a time. Divides every page size, so the way a page is cut
  /// never depends on its neighbours.
  static let pieceSize = 4096

  init(_ params: UnsafeMutablePointer<MultiFDSendParams>) throws(Failure) {
    let host = Host(params)
    let geometry = try Geometry(params.pointee)
    let options = params.pointee.options
    let isPacketAFrame = options[Option.stream].number == StreamChoice.packet
    let input = try Memory<UInt8>(
      host, count: isPacketAFrame ? geometry.packetSize : 1)
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
  /// zstd reads its input several times, so the pages must hold still (STABLE_INPUT), and the host
  /// copies those that do not.
  func prepare(_ params: UnsafeMutablePointer<MultiFDSendParams>) throws(Failure) {
    var pages = try Pages(
      params.pointee.normal, count: params.pointee.normal_num, geometry: geometry)
    guard let block = params.pointee.host, pages.byteCount > 0 else { return }
    params.setPayload(
      output.base, isPacketAFrame ? try frame(block, pages) : try feed(block, &pages))
  }

  /// The next part of the endless frame: all pages, then a flush, so that the receiver has all of
  /// it and the frame goes on.
  private func feed(_ block: UnsafePointer<UInt8>, _ pages: inout Pages) throws(Failure) -> Int {
    var out = ZSTD_outBuffer(dst: output.base, size: output.count, pos: 0)
    while let piece = pages.next(atMost: Self.pieceSize) {
      // The piece lies inside the block and is readable.
      var buffer = ZSTD_inBuffer(src: block + piece.offset, size: piece.count, pos: 0)
      try compressor.feed(&buffer, &out, flush: false)
    }
    var nothing = ZSTD_inBuffer(src: nil, size: 0, pos: 0)
    try compressor.feed(&nothing, &out, flush: true)
    return out.pos
  }

  /// The packet as a frame of its own.
  private func frame(_ block: UnsafePointer<UInt8>, _ pages: borrowing Pages) throws(Failure) -> Int
  {
    try compressor.frame(pages.gathered(block, input), pages.byteCount, output)
  }
}
