import Synchronization

/// One bit a page, which any number of threads set at once without a lock.
///
/// COLO's bitmap of one RAM block: channels mark pages while they receive, and after the commit
/// one thread (or several, on separate words) drains it. Setting a bit is one relaxed load when it is
/// set already, else one atomic OR (5 ns), where a global mutex would make every channel wait for
/// every other.
public final class DirtyBitmap: Sendable {
  /// How many bits there are.
  public let count: Int
  /// How many 64-bit words hold them: the unit in which ``drain(words:_:)`` can be shared out.
  public let wordCount: Int

  // Owned by this object from init to deinit, never moved; all access goes through Atomic.
  private nonisolated(unsafe) let words: UnsafeMutablePointer<Atomic<UInt64>>

  /// All bits clear.
  public init(count: Int) {
    self.count = count
    wordCount = (count + 63) / 64
    words = .allocate(capacity: max(wordCount, 1))
    for word in 0..<max(wordCount, 1) { (words + word).initialize(to: Atomic(0)) }
  }

  deinit {
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

  /// Whether a bit is set.
  @inlinable
  public func contains(_ bit: Int) -> Bool {
    let mask: UInt64 = 1 &<< UInt64(truncatingIfNeeded: bit & 63)
    return word(bit >> 6).pointee.load(ordering: .acquiring) & mask != 0
  }

  /// How many bits are set. Exact only while nobody sets any.
  public var population: Int {
    var sum = 0
    for index in 0..<wordCount {
      sum += words[index].load(ordering: .acquiring).nonzeroBitCount
    }
    return sum
  }

  /// Clears the set bits of a range of words, in order, and hands each to `body`, one at a time.
  /// A bit that is set meanwhile is either handed out or still set afterwards, never lost. Where `body`
  /// throws, that bit and all that were not handed out stay set: the same can be tried again.
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
