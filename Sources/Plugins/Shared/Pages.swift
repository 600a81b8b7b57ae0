// The pages of a packet as pieces of memory. Shared by all built-in backends, see Host.swift.
import PluginAPI

/// The pages that a channel was set up for.
struct Geometry {
  let pageSize: Int
  let pageCount: Int
  /// The most bytes that a packet's payload can have.
  let bound: Int

  /// Bytes of pages in a full packet.
  var packetSize: Int { pageSize * pageCount }

  /// Fails unless the page size is one the ABI knows, and the worst payload of a full packet can be
  /// told in `next_packet_size`, which has 32 bits.
  init(pageSize: UInt32, pageCount: UInt32, bound: UInt64) throws(Failure) {
    guard Self.supports(pageSize: pageSize) else {
      throw Failure(
        MULTIFD_ERROR_UNSUPPORTED, "the page size is not a power of two from 4 KiB to 1 GiB")
    }
    guard pageCount > 0, bound <= UInt64(UInt32.max) else {
      throw Failure(
        MULTIFD_ERROR_UNSUPPORTED, "a packet has no pages, or more than 32 bits can count")
    }
    self.pageSize = Int(pageSize)
    self.pageCount = Int(pageCount)
    self.bound = Int(bound)
  }

  /// Whether a page size is within the ABI: a power of two, 4 KiB to 1 GiB.
  static func supports(pageSize: UInt32) -> Bool {
    pageSize >= 4096 && pageSize <= 1 << 30 && pageSize & (pageSize - 1) == 0
  }
}

/// Walks the bytes of a packet's pages in the order in which they are sent, in pieces that are
/// contiguous in memory: neighbouring pages come as one piece.
///
/// `normal` is the host's and valid during the callback. The host has checked that every page lies
/// inside the block, so an offset and a length made from them stay inside it too.
struct Pages {
  private let normal: UnsafePointer<UInt64>
  private let pageSize: Int
  private let count: Int
  private var page = 0
  private var within = 0

  /// `normal` may only be nil when there are no pages.
  init(_ normal: UnsafePointer<UInt64>?, count: UInt32, geometry: borrowing Geometry)
    throws(Failure)
  {
    guard count <= geometry.pageCount, count == 0 || normal != nil else {
      throw .internal("the host gave more pages than a packet holds")
    }
    self.normal = normal ?? UnsafePointer(bitPattern: MemoryLayout<UInt64>.alignment)!
    self.pageSize = geometry.pageSize
    self.count = Int(count)
  }

  /// Bytes of all pages together.
  var byteCount: Int { pageSize * count }

  /// All pages in one piece, for codecs that want a packet at once: where they lie if they are
  /// neighbours, else copied to `memory`, which has room for a whole packet. To be called before
  /// `next`. What is returned is as long as `byteCount`, and valid while `block` and `memory` are.
  func gathered(
    _ block: UnsafePointer<UInt8>, _ memory: borrowing Memory<UInt8>
  ) -> UnsafePointer<UInt8> {
    var rest = self
    var filled = 0
    while let piece = rest.next() {
      if piece.count == byteCount { return block + piece.offset }
      // The piece lies inside the block and is readable; the pieces add up to a packet at most.
      UnsafeMutableRawPointer(memory.base + filled)
        .copyMemory(from: block + piece.offset, byteCount: piece.count)
      filled += piece.count
    }
    return UnsafePointer(memory.base)
  }

  /// The next piece, at most `limit` (> 0) bytes of it; nil behind the last page. `offset` counts
  /// from the start of the RAM block.
  mutating func next(atMost limit: Int = .max) -> (offset: Int, count: Int)? {
    guard page < count else { return nil }
    let start = Int(truncatingIfNeeded: normal[page]) &+ within
    var length = pageSize - within
    var following = page + 1
    while length < limit, following < count,
      Int(truncatingIfNeeded: normal[following]) == start &+ length
    {
      length += pageSize
      following += 1
    }
    if length <= limit {
      page = following
      within = 0
    } else {
      // Cut inside the last page that was added: the one before it did not reach the limit.
      page = following - 1
      within = pageSize - (length - limit)
      length = limit
    }
    return (start, length)
  }
}
