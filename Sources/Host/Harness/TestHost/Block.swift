import CHarness
import Glibc

/// A RAM block: some pages that may be touched, and around each run of them others that may not.
///
/// @unchecked Sendable: addresses only; a test that shares one between threads wants just that.
final class Block: @unchecked Sendable {
  let base: UnsafeMutableRawPointer
  let pageSize: Int
  /// Byte offsets of the pages that may be touched, ascending.
  let offsets: [UInt64]
  private let mapping: UnsafeMutableRawPointer
  private let mappingSize: Int
  private let runs: [(offset: Int, size: Int)]
  private var guardNumber: Int32 = -1

  /// Pages at `offsets` (multiples of the page size). Memory is zero.
  init(pageSize: Int, offsets: [UInt64], kind: MemoryKind) {
    self.pageSize = pageSize
    self.offsets = offsets.sorted()
    var runs: [(offset: Int, size: Int)] = []
    for offset in self.offsets {
      if let last = runs.last, last.offset + last.size == Int(offset) {
        runs[runs.count - 1].size += pageSize
      } else {
        runs.append((Int(offset), pageSize))
      }
    }
    self.runs = runs
    let size = (runs.last.map { $0.offset + $0.size } ?? 0) + pageSize
    // One page in front and one behind, and room to start at a multiple of the page size.
    mappingSize = size + 2 * pageSize
    mapping = map(mappingSize, access: .nothing)
    let aligned =
      (UInt(bitPattern: mapping) + UInt(2 * pageSize) - 1) & ~UInt(pageSize - 1)
    base = UnsafeMutableRawPointer(bitPattern: aligned)!
    note(kind)
    allow(.writing)
  }

  /// Pages in runs of three, one and two, with a page between the runs that is off limits.
  convenience init(pageSize: Int, pages: Int, kind: MemoryKind) {
    let offsets = (0..<pages).map { index in
      let place = index / 6 * 9 + [0, 1, 2, 4, 6, 7][index % 6]
      return UInt64(place * pageSize)
    }
    self.init(pageSize: pageSize, offsets: offsets, kind: kind)
  }

  private func note(_ kind: MemoryKind) {
    charness_guard_remove(guardNumber)
    // From a multiple of the page size on, so that the halves of a guard page are told apart.
    let start = base - pageSize
    let size = mapping + mappingSize - start
    guardNumber = charness_guard_add(start, size, kind.rawValue, pageSize)
  }

  /// What may be done with its pages from now on.
  func allow(_ access: GuardedMemory.Access, kind: MemoryKind? = nil) {
    if let kind { note(kind) }
    for run in runs { protect(base + run.offset, run.size, access) }
  }

  /// Fills every page; `content` of a page is chosen by its index.
  func fill(_ random: inout Seeded, _ content: (Int) -> Content) {
    for (index, offset) in offsets.enumerated() {
      content(index).fill(base + Int(offset), pageSize, &random)
    }
  }

  func fill(_ content: Content, _ random: inout Seeded) { fill(&random) { _ in content } }

  static let poison = Filling.byte

  /// Makes every page differ from anything that is likely to be sent.
  func poison() { for run in runs { memset(base + run.offset, Int32(Self.poison), run.size) } }

  /// Whether a page holds nothing but poison.
  func isPoisoned(_ offset: UInt64) -> Bool {
    let page = UnsafeRawBufferPointer(start: base + Int(offset), count: pageSize)
    // The first byte is poison, and each equals the one behind it.
    return page[0] == Self.poison
      && memcmp(page.baseAddress!, page.baseAddress! + 1, pageSize - 1) == 0
  }

  /// Whether a page is the same here and there.
  func equals(_ other: Block, at offset: UInt64) -> Bool {
    memcmp(base + Int(offset), other.base + Int(offset), pageSize) == 0
  }

  func bytes(at offset: UInt64) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: base + Int(offset), count: pageSize)
  }

  /// `count` different pages: a run, a few runs, or all over the place.
  func pick(_ count: Int, _ random: inout Seeded) -> [UInt64] {
    let count = min(count, offsets.count)
    var all = offsets
    switch Int.random(in: 0..<3, using: &random) {
    case 0:
      let start = Int.random(in: 0...(offsets.count - count), using: &random)
      all = Array(offsets[start..<start + count])
    case 1:
      let pivot = Int.random(in: 0..<offsets.count, using: &random)
      all = Array(offsets[pivot...] + offsets[..<pivot])
    default: all.shuffle(using: &random)
    }
    return Array(all.prefix(count))
  }

  deinit {
    charness_guard_remove(guardNumber)
    munmap(mapping, mappingSize)
  }
}
