// Receive side of `lz4`.
import CLZ4
import PluginAPI

/// A channel's state.
struct Receiver: ~Copyable {
  let host: Host
  let geometry: Geometry
  /// The table of one packet.
  let entries: Memory<UInt8>
  /// The body of one compressed segment.
  let input: Memory<UInt8>
  /// What a segment decodes to when its pages are not neighbours.
  let segment: Memory<UInt8>
  /// The pieces of one segment.
  let pieces: Memory<MultiFDIOVec>

  init(_ params: UnsafeMutablePointer<MultiFDRecvParams>) throws(Failure) {
    let host = Host(params)
    let geometry = try Geometry(params.pointee)
    let segmentSize = min(Format.segmentSize, geometry.packetSize)
    let entries = try Memory<UInt8>(
      host, count: Format.segments(geometry.packetSize) * Format.entrySize)
    let input = try Memory<UInt8>(host, count: segmentSize)
    let segment = try Memory<UInt8>(host, count: segmentSize)
    // Segments and pages are powers of two, so a segment cuts no page or lies inside one.
    let pieces = try Memory<MultiFDIOVec>(
      host, count: max(segmentSize / geometry.pageSize, 1))
    self.host = host
    self.geometry = geometry
    self.entries = entries
    self.input = input
    self.segment = segment
    self.pieces = pieces
  }

  /// Decodes one packet. The table is checked against the payload's size before a body is read.
  func receive(_ params: borrowing MultiFDRecvParams) throws(Failure) {
    var pages = try Pages(params.normal, count: params.normal_num, geometry: geometry)
    let payload = Int(params.next_packet_size)
    guard let block = params.host, pages.byteCount > 0 else {
      guard payload == 0 else { throw .corrupt("a payload without pages") }
      return
    }
    let count = Format.segments(pages.byteCount)
    try check(payload, segments: count, byteCount: pages.byteCount)
    for index in 0..<count {
      let size = self.size(of: index, byteCount: pages.byteCount)
      let entry = try self.entry(index, size)
      let pieceCount = gather(&pages, size, block)
      switch entry.kind {
      case .raw: try host.readv(pieces.base, pieceCount)
      case .block: try decode(entry.length, size, pieceCount)
      }
    }
  }

  /// Reads the table; fails unless it accounts for every byte of the payload.
  private func check(_ payload: Int, segments: Int, byteCount: Int) throws(Failure) {
    let tableSize = segments * Format.entrySize
    guard payload >= tableSize, payload <= geometry.bound else {
      throw .corrupt("the payload is shorter than its table, or longer than any of lz4's")
    }
    try host.read(entries.base, tableSize)
    // At most one table and one packet, which have 32 bits: no overflow.
    var total = tableSize
    for index in 0..<segments {
      total += try entry(index, size(of: index, byteCount: byteCount)).length
    }
    guard total == payload else {
      throw .corrupt("the payload is not as long as its table says")
    }
  }

  /// Bytes of pages in a segment: all but the last are full.
  private func size(of index: Int, byteCount: Int) -> Int {
    min(byteCount - index * Format.segmentSize, Format.segmentSize)
  }

  private func entry(_ index: Int, _ size: Int) throws(Failure) -> Format.Entry {
    try Format.Entry(entries.base + index * Format.entrySize, segment: size)
  }

  /// Puts the next `size` bytes of pages into `pieces`; returns how many pieces they are.
  private func gather(_ pages: inout Pages, _ size: Int, _ block: UnsafeMutablePointer<UInt8>)
    -> Int
  {
    var (used, filled) = (0, 0)
    while filled < size, let piece = pages.next(atMost: size - filled) {
      // Inside the block, and of this packet's pages only. A piece is a page or more, or the whole
      // segment, so `used` stays below the length of `pieces`.
      pieces.base[used] = MultiFDIOVec(iov_base: block + piece.offset, iov_len: piece.count)
      used += 1
      filled += piece.count
    }
    return used
  }

  /// Decodes a block of `length` bytes, straight into the pages if they are neighbours: that saves
  /// a fifth of the time. LZ4_decompress_safe writes `size` bytes at most, whatever it is fed, and
  /// decides by its input alone, so it does no harm that a page may change under it.
  private func decode(_ length: Int, _ size: Int, _ pieceCount: Int) throws(Failure) {
    try host.read(input.base, length)
    let direct = pieceCount == 1
    let target = direct ? pieces.base[0].iov_base : UnsafeMutableRawPointer(segment.base)
    let decoded = LZ4_decompress_safe(
      UnsafeRawPointer(input.base).assumingMemoryBound(to: CChar.self),
      target.assumingMemoryBound(to: CChar.self), Int32(truncatingIfNeeded: length),
      Int32(truncatingIfNeeded: size))
    guard decoded == size else {
      throw .corrupt(
        decoded < 0 ? "not an LZ4 block" : "an LZ4 block is less than its segment's pages")
    }
    guard !direct else { return }
    var from = UnsafeRawPointer(segment.base)
    for piece in UnsafeBufferPointer(start: pieces.base, count: pieceCount) {
      // The pieces add up to `size`, which `segment` has.
      piece.iov_base.copyMemory(from: from, byteCount: piece.iov_len)
      from += piece.iov_len
    }
  }
}
