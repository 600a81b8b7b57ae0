// COLO: what every backend's output passes. Decides whether pages land in the cache or in guest
// memory, and remembers which pages a checkpoint brought.

import Glibc
import Memory
import Synchronization

/// The shared stage between the backends' `recv` and memory: prepare before, process after.
///
///     state     host points to   prepare                          process
///     -------   --------------   ------------------------------   -----------------------------------
///     off       guest memory     clears zero pages                -
///     precopy   the cache        clears zero pages of the cache   copies normal pages cache -> guest,
///                                                                 clears zero pages of the guest
///     colo      the cache        records normal and zero pages    -
///                                in the bitmap, then clears
///                                zero pages of the cache
///
/// In COLO state guest memory does not change until ``flush()``: it is the last checkpoint, whatever
/// happens to the primary meanwhile. Recording comes before the first byte is written, so a page
/// that is half received is always known as changed. Zero pages are cleared also when they are seen
/// for the first time: what a page of the cache was before is nobody's assumption.
///
/// Any number of channels may be inside at once; the bitmap is atomic and nothing else is shared.
public final class COLOStage: Sendable {
  /// What the stage does with pages.
  public enum State: UInt8, AtomicRepresentable, Sendable {
    /// No COLO: pages go straight to guest memory.
    case off
    /// COLO is going to be: guest and cache are filled alike.
    case precopy
    /// Between checkpoints and in them.
    case colo
  }

  /// The guest's RAM blocks, in the order of the stream's block list.
  public let guest: [RAMBlock]
  /// As long as the guest's blocks and in the same order; empty when there is no COLO.
  public let cache: [RAMBlock]
  /// A bitmap for each block of the cache.
  public let dirty: [DirtyBitmap]
  private let current: Atomic<State>

  /// A stage without COLO.
  public init(guest: [RAMBlock]) {
    self.guest = guest
    cache = []
    dirty = []
    current = Atomic(.off)
  }

  /// A stage in precopy state.
  ///
  /// - Parameter cache: blocks of the same lengths and page sizes as the guest's, all zero.
  public init(guest: [RAMBlock], cache: [RAMBlock]) {
    precondition(
      guest.count == cache.count
        && zip(guest, cache).allSatisfy { $0.length == $1.length && $0.pageSize == $1.pageSize })
    self.guest = guest
    self.cache = cache
    dirty = guest.map { DirtyBitmap(count: $0.pageCount) }
    current = Atomic(.precopy)
  }

  /// What the stage does now.
  public var state: State { current.load(ordering: .acquiring) }

  /// Precopy is complete and loaded: from here on pages are a checkpoint's. No channel may be inside.
  public func enterCOLO() {
    precondition(state == .precopy)
    current.store(.colo, ordering: .releasing)
  }

  /// Readies the pages of a packet for being received.
  ///
  /// - Parameters:
  ///   - block: index of the RAM block.
  ///   - normal: offsets of pages that will be written; inside the block, page aligned.
  ///   - zero: offsets of pages that are all zero; the same.
  /// - Returns: where the block starts in the target: the `host` of the backend's params.
  /// - Throws: ENOSPC or ENOMEM when the target has no room.
  public func prepare(
    block: Int, normal: UnsafeBufferPointer<UInt64>, zero: UnsafeBufferPointer<UInt64>
  ) throws(SystemError) -> UnsafeMutableRawPointer {
    let state = state
    let target = state == .off ? guest[block] : cache[block]
    if state == .colo {
      let bitmap = dirty[block]
      let shift = UInt64(target.pageSize.trailingZeroBitCount)
      for offset in normal { bitmap.set(Int(truncatingIfNeeded: offset &>> shift)) }
      for offset in zero { bitmap.set(Int(truncatingIfNeeded: offset &>> shift)) }
    }
    for offset in normal { try target.reserve(pageAt: Int(truncatingIfNeeded: offset)) }
    for offset in zero { target.clear(pageAt: Int(truncatingIfNeeded: offset)) }
    return target.base
  }

  /// Finishes a packet whose pages have been received: in precopy the guest gets what the cache got.
  public func process(
    block: Int, normal: UnsafeBufferPointer<UInt64>, zero: UnsafeBufferPointer<UInt64>
  ) throws(SystemError) {
    guard state == .precopy else { return }
    let (guest, cache) = (guest[block], cache[block])
    for offset in normal {
      let offset = Int(truncatingIfNeeded: offset)
      try guest.reserve(pageAt: offset)
      // Both pages lie inside their mappings, in reserved chunks.
      (guest.base + offset).copyMemory(from: cache.base + offset, byteCount: guest.pageSize)
    }
    for offset in zero { guest.clear(pageAt: Int(truncatingIfNeeded: offset)) }
  }

  /// Copies the pages that the bitmap names from the cache to the guest, and clears the bitmap. Call it
  /// when the checkpoint is complete, RAM and device state; no channel may be inside.
  ///
  /// The bitmap is scanned, never the memory.
  ///
  /// - Returns: how many pages there were.
  @discardableResult
  public func flush() throws(SystemError) -> Int {
    precondition(state == .colo)
    var pages = 0
    for (index, bitmap) in dirty.enumerated() {
      let (guest, cache) = (guest[index], cache[index])
      try bitmap.drain { (page: Int) throws(SystemError) in
        let offset = page * guest.pageSize
        if cache.isReserved(pageAt: offset) {
          try guest.reserve(pageAt: offset)
          (guest.base + offset).copyMemory(from: cache.base + offset, byteCount: guest.pageSize)
        } else {
          // Never written: zero, and reading it through the mapping would allocate it.
          guest.clear(pageAt: offset)
        }
        pages += 1
      }
    }
    return pages
  }
}
