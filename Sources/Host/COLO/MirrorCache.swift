import Memory
import System

/// A second copy of the guest's RAM, and two bitmaps a block: one records the checkpoint that comes
/// in, the other says what of the last one is still to be copied. QEMU's own layout of a COLO
/// secondary.
public final class MirrorCache: Sendable {
  /// As long as the guest's blocks and in the same order.
  public let blocks: [RAMBlock]
  /// Two sets of bitmaps, one for each block.
  public let bitmaps: [[DirtyBitmap]]

  /// Bytes of a file that holds one set of bitmaps.
  public static func bitmapSize(_ guest: [RAMBlock]) -> Int {
    (offsets(guest).last! + 4095) / 4096 * 4096
  }

  /// Where each block's bits begin, and the end.
  private static func offsets(_ guest: [RAMBlock]) -> [Int] {
    guest.reduce(into: [0]) { $0.append($0.last! + ($1.pageCount + 63) / 64 * 8) }
  }

  /// A cache in blocks as long as the guest's.
  ///
  /// - Parameter bitmaps: two files of ``bitmapSize(_:)`` bytes.
  public init(blocks: [RAMBlock], bitmaps: [RAMBlock]) throws(SystemError) {
    precondition(bitmaps.count == 2)
    let offsets = Self.offsets(blocks)
    var sets: [[DirtyBitmap]] = []
    for file in bitmaps {
      var set: [DirtyBitmap] = []
      for (index, block) in blocks.enumerated() {
        set.append(try DirtyBitmap(count: block.pageCount, in: file, at: offsets[index]))
      }
      sets.append(set)
    }
    self.blocks = blocks
    self.bitmaps = sets
  }

  /// A cache in memory only.
  public convenience init(memoryFor guest: [RAMBlock]) throws(SystemError) {
    var blocks: [RAMBlock] = []
    for block in guest {
      blocks.append(
        try RAMBlock(memfd: block.name, length: block.length, pageSize: block.pageSize))
    }
    let size = Self.bitmapSize(guest)
    try self.init(
      blocks: blocks,
      bitmaps: [
        try RAMBlock(memfd: "bitmap-a", length: size, pageSize: 4096),
        try RAMBlock(memfd: "bitmap-b", length: size, pageSize: 4096),
      ])
  }

  /// Copies the pages that a set of bitmaps names to the guest and clears their bits, page by page
  /// after the copy. Can be repeated. The bitmap is scanned, never the memory.
  ///
  /// - Parameter part: this call takes that part of `parts` of every bitmap.
  public func replay(
    set: Int, to guest: [RAMBlock], part: Int = 0, parts: Int = 1
  ) throws(SystemError) {
    for (index, bitmap) in bitmaps[set].enumerated() {
      let (guest, cache) = (guest[index], blocks[index])
      let words = bitmap.wordCount
      try bitmap.redo(words: words * part / parts..<words * (part + 1) / parts) {
        (page: Int) throws(SystemError) in
        let offset = page * guest.pageSize
        guard offset < guest.length else { return }
        if cache.mayHoldData(pageAt: offset) {
          try guest.reserve(pageAt: offset)
          // Both pages lie inside their mappings, and are memory.
          (guest.base + offset).copyMemory(from: cache.base + offset, byteCount: guest.pageSize)
        } else {
          // Never written: zero, and reading it through the mapping would allocate it.
          try guest.clear(pageAt: offset)
        }
      }
    }
  }
}
