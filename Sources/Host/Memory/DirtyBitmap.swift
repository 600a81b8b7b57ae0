import Synchronization
import System

/// One bit a page, which any number of threads set at once without a lock.
///
/// COLO's bitmap of one RAM block: channels mark pages while they receive, and after the commit one
/// thread (or several, on separate words) drains it. Setting a bit is one relaxed load when it is
/// set already, else one atomic OR (5 ns), where a global mutex would make every channel wait for
/// every other.
public final class DirtyBitmap: Sendable {
  /// How many bits there are.
  public let count: Int
  /// How many 64-bit words hold them: the unit in which ``drain(words:_:)`` can be shared out.
  public let wordCount: Int

  // Owned by this object from init to deinit, never moved; all access goes through Atomic.
  private nonisolated(unsafe) let words: UnsafeMutablePointer<Atomic<UInt64>>
  /// Whose memory the words are; nil: this object's own.
  private let owner: RAMBlock?

  /// All bits clear, in memory of its own.
  public init(count: Int) {
    self.count = count
    wordCount = (count + 63) / 64
    owner = nil
    words = .allocate(capacity: max(wordCount, 1))
    for word in 0..<max(wordCount, 1) { (words + word).initialize(to: Atomic(0)) }
  }

  /// Bits that live in a file, so that another process finds them: as they are there.
  ///
  /// - Parameter offset: where they begin; a multiple of 8, with room for `count` bits behind it.
  public init(count: Int, in block: RAMBlock, at offset: Int) throws(SystemError) {
    self.count = count
    wordCount = (count + 63) / 64
    owner = block
    precondition(offset & 7 == 0 && offset >= 0 && offset + wordCount * 8 <= block.length)
    for page in stride(from: 0, to: wordCount * 8, by: block.pageSize) {
      try block.reserve(pageAt: offset + page)
    }
    if wordCount > 0 { try block.reserve(pageAt: offset + wordCount * 8 - 8) }
    // Inside the mapping, which `owner` keeps; an Atomic<UInt64> is eight bytes of any memory.
    words = (block.base + offset).bindMemory(to: Atomic<UInt64>.self, capacity: max(wordCount, 1))
  }

  deinit {
    guard owner == nil else { return }
    words.deinitialize(count: max(wordCount, 1))
    words.deallocate()
  }

  /// Sets a bit. Everything this thread wrote before is visible to whoever drains the bit.
  ///
  /// - Returns: whether it was clear before.
  @inlinable @discardableResult
  public func set(_ bit: Int) -> Bool {
    let mask: UInt64 = 1 &<< UInt64(truncatingIfNeeded: bit & 63)
    let word = word(bit >> 6)
    if word.pointee.load(ordering: .relaxed) & mask != 0 { return false }
    return word.pointee.bitwiseOr(mask, ordering: .releasing).oldValue & mask == 0
  }

  /// Sets the bits of the pages at `offsets`: neighbours with one atomic OR for each word of them.
  /// Everything this thread wrote before is visible to whoever drains a bit.
  ///
  /// - Parameter pageShift: log2 of a page's bytes.
  @inline(never)
  public func set(pagesAt offsets: UnsafeBufferPointer<UInt64>, pageShift: UInt64) {
    var (index, mask) = (0, UInt64(0))
    for offset in offsets {
      let bit = Int(truncatingIfNeeded: offset &>> pageShift)
      if bit >> 6 != index {
        set(mask, inWord: index)
        (index, mask) = (bit >> 6, 0)
      }
      mask |= 1 &<< UInt64(truncatingIfNeeded: bit & 63)
    }
    set(mask, inWord: index)
  }

  @inline(__always)
  private func set(_ mask: UInt64, inWord index: Int) {
    guard mask != 0 else { return }
    precondition(index >= 0 && index < wordCount)
    // One that has been set by an earlier round of the same pages is only read: no other channel
    // loses its cache line.
    guard words[index].load(ordering: .relaxed) & mask != mask else { return }
    words[index].bitwiseOr(mask, ordering: .releasing)
  }

  /// Whether a bit is set.
  @inlinable
  public func contains(_ bit: Int) -> Bool {
    let mask: UInt64 = 1 &<< UInt64(truncatingIfNeeded: bit & 63)
    return word(bit >> 6).pointee.load(ordering: .acquiring) & mask != 0
  }

  /// Clears a bit.
  ///
  /// - Returns: whether it was set before.
  @discardableResult
  public func remove(_ bit: Int) -> Bool {
    let mask: UInt64 = 1 &<< UInt64(truncatingIfNeeded: bit & 63)
    return word(bit >> 6).pointee.bitwiseAnd(~mask, ordering: .releasing).oldValue & mask != 0
  }

  /// How many bits are set. Exact only while nobody sets any.
  public var population: Int {
    var sum = 0
    for index in 0..<wordCount {
      sum += words[index].load(ordering: .acquiring).nonzeroBitCount
    }
    return sum
  }

  /// The last bit that is set; nil where none is. A look at a word for each 64 bits behind it.
  public var last: Int? {
    for index in (0..<wordCount).reversed() {
      let word = words[index].load(ordering: .acquiring)
      if word != 0 { return index << 6 | (63 - word.leadingZeroBitCount) }
    }
    return nil
  }

  /// Clears the set bits of a range of words, in order, and hands each to `body`, one at a time. A
  /// bit that is set meanwhile is either handed out or still set afterwards, never lost. Where
  /// `body` throws, that bit and all that were not handed out stay set: the same can be tried
  /// again.
  public func drain<Failure>(
    words range: Range<Int>, _ body: (Int) throws(Failure) -> Void
  ) throws(Failure) {
    precondition(range.lowerBound >= 0 && range.upperBound <= wordCount)
    for index in range where words[index].load(ordering: .relaxed) != 0 {
      var rest = words[index].exchange(0, ordering: .acquiring)
      while rest != 0 {
        do throws(Failure) {
          try body(index << 6 | rest.trailingZeroBitCount)
        } catch {
          words[index].bitwiseOr(rest, ordering: .releasing)
          throw error
        }
        rest &= rest &- 1
      }
    }
  }

  /// Hands out the set bits of a range of words and clears each word *after* `body` is done with
  /// its bits: what a process that dies in between has not finished is still marked. Nobody may set
  /// bits meanwhile.
  public func redo<Failure>(
    words range: Range<Int>, _ body: (Int) throws(Failure) -> Void
  ) throws(Failure) {
    precondition(range.lowerBound >= 0 && range.upperBound <= wordCount)
    for index in range {
      var rest = words[index].load(ordering: .acquiring)
      guard rest != 0 else { continue }
      while rest != 0 {
        try body(index << 6 | rest.trailingZeroBitCount)
        rest &= rest &- 1
      }
      words[index].store(0, ordering: .releasing)
    }
  }

  /// Clears and hands out all set bits.
  public func drain<Failure>(_ body: (Int) throws(Failure) -> Void) throws(Failure) {
    try drain(words: 0..<wordCount, body)
  }

  /// The word with that index, checked: a bit outside the map is a bug of the caller.
  @usableFromInline
  func word(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    precondition(index >= 0 && index < wordCount)
    return words + index
  }
}
