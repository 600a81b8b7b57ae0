import TestSupport

/// A recorded file's bytes with one to four changes. The changes are made in place and undone, so
/// that a mutation of a megabyte does not cost a copy of it.
struct MutableInput: ~Copyable {
  private let base: UnsafeMutablePointer<UInt8>
  private let original: [UInt8]
  private let capacity: Int
  private(set) var count: Int
  /// Everything from here on differs from the original; bytes in `touched` may as well.
  private var shiftedFrom: Int
  private var touched: [Range<Int>] = []

  init(_ bytes: [UInt8]) {
    original = bytes
    capacity = bytes.count + 4 * Self.longest
    count = bytes.count
    shiftedFrom = bytes.count
    base = .allocate(capacity: capacity)
    base.initialize(repeating: 0, count: capacity)
    base.update(from: bytes, count: bytes.count)
  }

  deinit { base.deallocate() }

  /// The bytes now: valid until the next change, which only `self` makes.
  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

  static let longest = 4096

  /// Words that lengths, counts, flags and offsets are tried with.
  static let words: [UInt64] = [
    0, 1, 2, 3, 4, 7, 8, 0x10, 0x20, 0x40, 0x7f, 0x80, 0xff, 0x100, 0x200, 0xfff, 0x1000, 0x7fff,
    0x8000, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000,
    0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, 0xffff_ffff_ffff_f000, .max,
  ]

  mutating func mutate(_ random: inout SeededGenerator) {
    for _ in 0..<Int.random(in: 1...4, using: &random) { change(&random) }
  }

  private mutating func change(_ random: inout SeededGenerator) {
    let at = place(&random)
    let length = min(count - at, Int.random(in: 1...64, using: &random))
    switch Int.random(in: 0..<16, using: &random) {
    case 0...4:
      touch(at..<min(count, at + 1))
      if at < count { base[at] ^= 1 << UInt8.random(in: 0..<8, using: &random) }
    case 5, 6:
      touch(at..<min(count, at + 1))
      if at < count { base[at] = UInt8.random(in: .min ... .max, using: &random) }
    case 7...10:
      let size = min([1, 2, 4, 8].randomElement(using: &random)!, count - at)
      let word =
        Self.words.randomElement(using: &random)! &+ UInt64(Int.random(in: 0...2, using: &random))
        &- 1
      touch(at..<at + size)
      for index in 0..<size {
        base[at + index] = UInt8(truncatingIfNeeded: word >> UInt64(8 * (size - 1 - index)))
      }
    case 11:
      touch(at..<at + length)
      for index in 0..<length { base[at + index] = UInt8.random(in: .min ... .max, using: &random) }
    case 12:
      // A piece of another place.
      let from = Int.random(in: 0...max(0, count - length), using: &random)
      touch(at..<at + length)
      (base + at).update(from: base + from, count: length)
    case 13:
      shiftedFrom = min(shiftedFrom, at)
      count = at
    case 14:
      let removed = min(count - at, Int.random(in: 1...Self.longest, using: &random))
      shiftedFrom = min(shiftedFrom, at)
      (base + at).update(from: base + at + removed, count: count - at - removed)
      count -= removed
    default:
      let added = min(capacity - count, Int.random(in: 1...Self.longest, using: &random))
      shiftedFrom = min(shiftedFrom, at)
      (base + at + added).update(from: base + at, count: count - at)
      let fill = UInt8.random(in: .min ... .max, using: &random)
      (base + at).update(repeating: fill, count: added)
      count += added
    }
  }

  /// Anywhere; half of the time near the beginning, where the headers are.
  private func place(_ random: inout SeededGenerator) -> Int {
    guard count > 0 else { return 0 }
    let near = Bool.random(using: &random)
    return Int.random(in: 0..<(near ? min(count, 2048) : count), using: &random)
  }

  private mutating func touch(_ range: Range<Int>) { touched.append(range) }

  /// Back to the original.
  mutating func undo() {
    for range in touched {
      let range = range.clamped(to: 0..<original.count)
      copy(range)
    }
    touched.removeAll(keepingCapacity: true)
    copy(shiftedFrom..<original.count)
    count = original.count
    shiftedFrom = original.count
  }

  private func copy(_ range: Range<Int>) {
    original.withUnsafeBufferPointer { source in
      // The range is within the original, which is not longer than the buffer.
      guard let start = source.baseAddress, !range.isEmpty else { return }
      (base + range.lowerBound).update(from: start + range.lowerBound, count: range.count)
    }
  }
}
