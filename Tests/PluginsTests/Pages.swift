import Foundation

/// SplitMix64: the same numbers from the same seed on every machine.
struct Seeded: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}

/// What pages hold.
enum Content: CaseIterable {
  case zero, text, random, mixed

  /// Fills a page of RAM.
  func fill(_ page: UnsafeMutableRawPointer, _ size: Int, _ random: inout Seeded) {
    switch self {
    case .zero: memset(page, 0, size)
    case .text:
      let words = Self.words
      var at = 0
      while at < size {
        let word = words[Int.random(in: 0..<words.count, using: &random)]
        let count = min(word.count, size - at)
        word.withUnsafeBytes { (page + at).copyMemory(from: $0.baseAddress!, byteCount: count) }
        at += count
      }
    case .random:
      for at in stride(from: 0, to: size, by: 8) {
        (page + at).storeBytes(of: random.next(), as: UInt64.self)
      }
    case .mixed:
      let half = size / 2
      let kinds: [Content] = [.zero, .text, .random]
      kinds.randomElement(using: &random)!.fill(page, half, &random)
      kinds.randomElement(using: &random)!.fill(page + half, half, &random)
    }
  }

  private static let words: [[UInt8]] = {
    var random = Seeded(7)
    return (0..<400).map { _ in
      let length = Int.random(in: 2...9, using: &random)
      return (0..<length).map { _ in UInt8.random(in: 97...122, using: &random) } + [32]
    }
  }()
}

/// A RAM block of `pages` pages with guard pages around it.
func makeRAM(_ content: Content, pages: Int, pageSize: Int, seed: UInt64) -> GuardedMemory {
  let ram = GuardedMemory(pages * pageSize)
  var random = Seeded(seed)
  for page in 0..<pages { content.fill(ram.base + page * pageSize, pageSize, &random) }
  return ram
}

/// `count` different pages of a block: one run, a few runs, or all over the place.
func pickPages(_ count: Int, of pages: Int, pageSize: Int, _ random: inout Seeded) -> [UInt64] {
  var all = Array(0..<pages)
  switch Int.random(in: 0..<3, using: &random) {
  case 0:
    let start = Int.random(in: 0...(pages - count), using: &random)
    all = Array(start..<start + count)
  case 1:
    let pivot = Int.random(in: 0..<pages, using: &random)
    all = Array(all[pivot...] + all[..<pivot])
  default: all.shuffle(using: &random)
  }
  return all.prefix(count).map { UInt64($0 * pageSize) }
}

/// A block that differs from every page in it, with the pages of `source` at `offsets` put in.
func expectation(_ source: GuardedMemory, _ offsets: [UInt64], pageSize: Int) -> GuardedMemory {
  let expected = GuardedMemory(source.size)
  for offset in offsets {
    (expected.base + Int(offset)).copyMemory(from: source.base + Int(offset), byteCount: pageSize)
  }
  return expected
}

extension GuardedMemory {
  /// Whether two blocks hold the same bytes.
  func equals(_ other: GuardedMemory) -> Bool {
    size == other.size && memcmp(base, other.base, size) == 0
  }
}
