// COLO: what every backend's output passes. Decides whether pages land in the cache or in guest
// memory, and remembers which pages a checkpoint brought.

import Glibc
import Memory
import Synchronization
import System

/// The shared stage between the backends' `recv` and memory: prepare before, process after.
///
///     state     host points to   prepare                          process
///     -------   --------------   ------------------------------   -----------------------------------
///     off       guest memory     clears zero pages                -
///     precopy   mirror: cache    clears zero pages of the target  mirror: copies normal pages cache
///               sparse: guest                                     -> guest, clears the guest's zero pages
///     colo      the cache        records normal and zero pages,   -
///                                then clears zero pages of the
///                                cache (mirror)
///
/// In COLO state guest memory does not change until ``redo(_:part:parts:)``: it is the last
/// checkpoint, whatever happens to the primary meanwhile. Recording comes before the first byte is
/// written, so a page that is half received is always known as changed. Zero pages are cleared also
/// when they are seen for the first time: what a page of the cache was before is nobody's
/// assumption.
///
/// Two caches, one at a time. *Mirror* is a second copy of RAM with a bitmap, as a stock secondary
/// has it. *Sparse* holds only the pages of the checkpoints in flight, in the order in which they
/// came. Both have two sides: one can fill while the other is still being copied to the guest. As
/// long as that copy is done before the next checkpoint begins, one side does for all of them, and
/// its memory is warm; see ``turn()``.
///
/// Any number of channels may be inside at once; recording is atomic and nothing else is shared.
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

  /// Where a checkpoint's pages are kept until it is complete.
  public enum Cache: Sendable {
    /// Nowhere: there are no checkpoints.
    case none
    /// In a second copy of RAM.
    case mirror(MirrorCache)
    /// In two logs.
    case sparse([StagingLog])
  }

  /// Where the pages of one packet go: the `host` and `normal` of the backend's params.
  public struct Target {
    /// The start of a block of memory.
    public var host: UnsafeMutableRawPointer
    /// Offsets in it; as many as the packet has normal pages, valid as long as the packet's.
    public var normal: UnsafeBufferPointer<UInt64>
    /// Nobody here will read the pages: neither a mirror's copy nor a checkpoint's.
    public var staysUnread = false
  }

  /// A complete checkpoint in the cache: what a commit has to remember.
  public struct Sealed: Equatable, Sendable {
    /// Which side of the cache.
    public var side: Int
    /// Journal entries (sparse), 0 (mirror).
    public var entries: Int

    /// A sealed side.
    public init(side: Int, entries: Int) {
      self.side = side
      self.entries = entries
    }
  }

  /// The guest's RAM blocks, in the order of the stream's block list.
  public let guest: [RAMBlock]
  /// Where checkpoints are kept.
  public let cache: Cache
  private let current: Atomic<State>
  private let side = Atomic<Int>(0)
  /// The other side may hold memory.
  private let hasTurned = Atomic(false)

  /// A stage in precopy state, or without COLO.
  ///
  /// - Parameter cache: made for these blocks, empty.
  public init(guest: [RAMBlock], cache: Cache = .none) {
    self.guest = guest
    self.cache = cache
    switch cache {
    case .none: current = Atomic(.off)
    case .mirror(let mirror):
      precondition(
        guest.count == mirror.blocks.count
          && zip(guest, mirror.blocks).allSatisfy {
            $0.length == $1.length && $0.pageSize == $1.pageSize
          })
      current = Atomic(.precopy)
    case .sparse(let logs):
      precondition(logs.count == 2)
      current = Atomic(.precopy)
    }
  }

  /// The blocks that a guest's pages fill before there is a checkpoint.
  public var fillingBlocks: [RAMBlock] {
    if case .mirror(let mirror) = cache { return guest + mirror.blocks }
    return guest
  }

  /// What the stage does now.
  public var state: State { current.load(ordering: .acquiring) }

  /// Precopy is complete and loaded: from here on pages are a checkpoint's. No channel may be
  /// inside.
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
  ///   - slots: room for as many offsets as there are normal pages; the sparse cache's offsets go
  ///     there.
  /// - Throws: ENOSPC or ENOMEM when the target has no room.
  public func prepare(
    block: Int, normal: UnsafeBufferPointer<UInt64>, zero: UnsafeBufferPointer<UInt64>,
    slots: UnsafeMutableBufferPointer<UInt64>
  ) throws(SystemError) -> Target {
    let state = state
    let target: RAMBlock
    var staysUnread = true
    if state == .colo {
      // What is acknowledged will fit: the guest's memory is got now, and not when it is copied.
      try guest[block].reserve(pagesAt: normal)
    }
    switch cache {
    case .none: target = guest[block]
    case .mirror(let mirror):
      (target, staysUnread) = (mirror.blocks[block], false)
      if state == .colo {
        let bitmap = mirror.bitmaps[side.load(ordering: .relaxed)][block]
        let shift = UInt64(target.pageSize.trailingZeroBitCount)
        bitmap.set(pagesAt: normal, pageShift: shift)
        bitmap.set(pagesAt: zero, pageShift: shift)
      }
    case .sparse(let logs):
      target = guest[block]
      if state == .colo {
        let host = try logs[side.load(ordering: .relaxed)].append(
          block: block, pageShift: UInt64(target.pageSize.trailingZeroBitCount), normal: normal,
          zero: zero, slots: slots)
        return Target(
          host: host, normal: UnsafeBufferPointer(rebasing: slots[..<normal.count]))
      }
    }
    try target.reserve(pagesAt: normal)
    try target.clear(pagesAt: zero)
    return Target(host: target.base, normal: normal, staysUnread: staysUnread)
  }

  /// Finishes a packet whose pages have been received: in precopy the guest gets what a mirror got.
  public func process(
    block: Int, normal: UnsafeBufferPointer<UInt64>, zero: UnsafeBufferPointer<UInt64>
  ) throws(SystemError) {
    guard case .mirror(let mirror) = cache, state == .precopy else { return }
    let (guest, cache) = (guest[block], mirror.blocks[block])
    for offset in normal {
      let offset = Int(truncatingIfNeeded: offset)
      try guest.reserve(pageAt: offset)
      // Both pages lie inside their mappings, in reserved chunks.
      (guest.base + offset).copyMemory(from: cache.base + offset, byteCount: guest.pageSize)
    }
    try guest.clear(pagesAt: zero)
  }

  /// All pages of a checkpoint are in. Before the next one's come, either ``turn()`` to the other
  /// side, or wait until the guest has this one and ``forget(_:keep:)`` it. No channel may be
  /// inside.
  public func seal() -> Sealed {
    precondition(state == .colo)
    let side = side.load(ordering: .relaxed)
    var entries = 0
    if case .sparse(let logs) = cache { entries = logs[side].count }
    return Sealed(side: side, entries: entries)
  }

  /// The next checkpoint's pages go to the other side, which must be free. No channel may be
  /// inside.
  public func turn() {
    side.store(1 - side.load(ordering: .relaxed), ordering: .releasing)
    hasTurned.store(true, ordering: .relaxed)
  }

  /// Both sides are free and this one goes on being used: the other one's memory is given back.
  public func stay() throws(SystemError) {
    guard case .sparse(let logs) = cache, hasTurned.exchange(false, ordering: .relaxed) else {
      return
    }
    try logs[1 - side.load(ordering: .relaxed)].reset(keep: 0)
  }

  /// Makes so much of the sparse cache memory, before the first checkpoint would have to. Channels
  /// may be inside.
  public func warm(bytes: Int) throws(SystemError) {
    guard case .sparse(let logs) = cache else { return }
    try logs[side.load(ordering: .relaxed)].warm(bytes: bytes)
  }

  /// Copies a sealed checkpoint from the cache to the guest. Can be repeated until
  /// ``forget(_:keep:)``. With a mirror no channel may be inside; with a sparse cache the next
  /// checkpoint's pages may already come in.
  ///
  /// - Parameter part: one of `parts` that threads do at the same time.
  public func redo(_ sealed: Sealed, part: Int = 0, parts: Int = 1) throws(SystemError) {
    switch cache {
    case .none: return
    case .mirror(let mirror):
      try mirror.replay(set: sealed.side, to: guest, part: part, parts: parts)
    case .sparse(let logs):
      try logs[sealed.side].replay(count: sealed.entries, to: guest, part: part, parts: parts)
    }
  }

  /// The guest has all of a checkpoint: its side of the cache is free.
  ///
  /// - Parameter keep: bytes of the sparse cache that stay allocated; nil: as many as this
  ///   checkpoint had, for the next one will be like it.
  public func forget(_ sealed: Sealed, keep: Int? = nil) throws(SystemError) {
    guard case .sparse(let logs) = cache else { return }
    let log = logs[sealed.side]
    try log.reset(keep: keep ?? max(StagingLog.kept, log.normalBytes))
  }

  /// Bytes of memory that the cache holds.
  public var cacheBytes: Int {
    switch cache {
    case .none: 0
    case .mirror(let mirror): mirror.blocks.reduce(0) { $0 + $1.reservedBytes }
    case .sparse(let logs): logs.reduce(0) { $0 + $1.reservedBytes }
    }
  }
}
