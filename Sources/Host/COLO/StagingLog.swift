import Glibc
import Memory
import Synchronization
import System

/// The pages of one checkpoint in the order in which they came, and a journal of what each is: the
/// sparse cache.
///
///     pages     | slot 0 | slot 1 | slot 2 | …            contents, back to back
///     journal   | block, page, slot | block, page, zero | …
///
/// A packet's pages become neighbours, whatever their places in the guest, so a backend writes to
/// memory that is warm and contiguous, and the memory in use is what one checkpoint dirtied and no
/// more. Both are files of the store: the committed journal is all that a restarted process needs
/// to repeat the copy.
///
/// Within an epoch a page is sent once; across epochs a later entry has a higher number, since
/// channels wait for one another in between. So going through the journal in order gives what the
/// source meant.
public final class StagingLog: Sendable {
  /// A journal entry: which page, and where its contents are.
  private struct Entry {
    /// Block index in the upper 16 bits, page number in the lower 48.
    var place: UInt64
    /// A slot, or all ones for a zero page.
    var slot: UInt64
    static let zero = UInt64.max
  }

  private let pages: RAMBlock
  private let journal: RAMBlock
  private let slotCount: Int
  private let entryCount: Int
  private let nextSlot = Atomic<Int>(0)
  private let nextEntry = Atomic<Int>(0)

  /// Bytes of a journal file that holds `pages` entries.
  public static func journalSize(pages: Int) -> Int {
    (pages * MemoryLayout<Entry>.stride + 4095) / 4096 * 4096
  }

  /// A log in two blocks.
  ///
  /// - Parameters:
  ///   - pages: room for the contents; its page size is the guest's.
  ///   - journal: ``journalSize(pages:)`` bytes.
  public init(pages: RAMBlock, journal: RAMBlock) {
    self.pages = pages
    self.journal = journal
    slotCount = pages.pageCount
    entryCount = journal.length / MemoryLayout<Entry>.stride
  }

  /// Entries so far: with it the journal is complete.
  public var count: Int { nextEntry.load(ordering: .acquiring) }
  /// Pages with contents so far.
  public var normalCount: Int { nextSlot.load(ordering: .acquiring) }
  /// Bytes of them.
  var normalBytes: Int { normalCount * pages.pageSize }
  /// Bytes that stay memory between checkpoints, however small those are: to get memory takes as
  /// long as to fill it.
  public static let kept = 32 << 20
  /// Bytes of memory that the log holds.
  public var reservedBytes: Int { pages.reservedBytes + journal.reservedBytes }

  /// Enters the pages of a packet, before their contents come.
  ///
  /// - Parameter slots: filled with the offset of each normal page in the log.
  /// - Returns: where the log's pages start.
  /// - Throws: ENOSPC also when one checkpoint brings more pages than the log has room for.
  public func append(
    block: Int, pageShift: UInt64, normal: UnsafeBufferPointer<UInt64>,
    zero: UnsafeBufferPointer<UInt64>, slots: UnsafeMutableBufferPointer<UInt64>
  ) throws(SystemError) -> UnsafeMutableRawPointer {
    let slot = nextSlot.wrappingAdd(normal.count, ordering: .relaxed).oldValue
    let entry = nextEntry.wrappingAdd(normal.count + zero.count, ordering: .relaxed).oldValue
    guard slot + normal.count <= slotCount, entry + normal.count + zero.count <= entryCount else {
      throw SystemError("a checkpoint larger than the guest's RAM", errno: ENOSPC)
    }
    try reserveEntries(entry..<(entry + normal.count + zero.count))
    // In reserved memory, and these entries are this call's alone.
    let entries = (journal.base + entry * MemoryLayout<Entry>.stride).assumingMemoryBound(
      to: Entry.self)
    let high = UInt64(block) << 48
    let pageSize = pages.pageSize
    try pages.reserve(slot * pageSize..<(slot + normal.count) * pageSize)
    for (index, offset) in normal.enumerated() {
      slots[index] = UInt64((slot + index) * pageSize)
      entries[index] = Entry(place: high | offset >> pageShift, slot: UInt64(slot + index))
    }
    for (index, offset) in zero.enumerated() {
      entries[normal.count + index] = Entry(place: high | offset >> pageShift, slot: Entry.zero)
    }
    return pages.base
  }

  /// Copies what the first `count` entries say to the guest. Can be repeated.
  ///
  /// - Parameters:
  ///   - part: this call takes the pages whose number, in runs of 256, is `part` modulo `parts`:
  ///     threads that take different parts never meet, and each sees a page's entries in order.
  public func replay(
    count: Int, to guest: [RAMBlock], part: Int = 0, parts: Int = 1
  ) throws(SystemError) {
    // The number comes from a file too, when a copy is repeated.
    guard count >= 0, count <= entryCount else {
      throw SystemError("a damaged journal", errno: EINVAL)
    }
    let entries = journal.base.assumingMemoryBound(to: Entry.self)
    let entriesPerPage = journal.pageSize / MemoryLayout<Entry>.stride
    for index in 0..<count {
      // Every entry and every page of contents has been written: a hole is damage, and reading it
      // could take memory.
      if index % entriesPerPage == 0 {
        guard journal.mayHoldData(pageAt: index / entriesPerPage * journal.pageSize) else {
          throw SystemError("a damaged journal", errno: EINVAL)
        }
      }
      let entry = entries[index]
      let page = Int(entry.place & (1 << 48 - 1))
      guard (page >> 8) % parts == part else { continue }
      let block = Int(entry.place >> 48)
      // A journal that was read from a file is checked like any input.
      guard block < guest.count else { throw SystemError("a damaged journal", errno: EINVAL) }
      let target = guest[block]
      guard page < target.pageCount, entry.slot == Entry.zero || entry.slot < UInt64(slotCount)
      else { throw SystemError("a damaged journal", errno: EINVAL) }
      let offset = page * target.pageSize
      if entry.slot == Entry.zero {
        try target.clear(pageAt: offset)
      } else {
        let slot = Int(entry.slot) * pages.pageSize
        guard pages.mayHoldData(pageAt: slot) else {
          throw SystemError("a damaged journal", errno: EINVAL)
        }
        try target.reserve(pageAt: offset)
        // Both pages lie inside their mappings, and are memory.
        (target.base + offset).copyMemory(from: pages.base + slot, byteCount: pages.pageSize)
      }
    }
  }

  /// Empties the log; what is beyond `keep` bytes is given back, the rest stays warm for the next
  /// checkpoint.
  public func reset(keep: Int) throws(SystemError) {
    nextSlot.store(0, ordering: .relaxed)
    nextEntry.store(0, ordering: .releasing)
    try pages.release(from: keep)
    try journal.release(from: keep / pages.pageSize * MemoryLayout<Entry>.stride)
  }

  /// Makes the first `bytes` of the contents memory, and the journal that belongs to them.
  func warm(bytes: Int) throws(SystemError) {
    try pages.reserve(0..<min(bytes, pages.length))
    try reserveEntries(0..<min(bytes / pages.pageSize, entryCount))
  }

  private func reserveEntries(_ range: Range<Int>) throws(SystemError) {
    let stride = MemoryLayout<Entry>.stride
    try journal.reserve(range.lowerBound * stride..<range.upperBound * stride)
  }
}
