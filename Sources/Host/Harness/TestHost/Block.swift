import CHarness
import CLinux
import Glibc
import Synchronization

/// A RAM block as the host has it: some pages that may be touched, and around each run of them
/// others that may not.
///
/// It is memory of a file, mapped twice. A backend gets one mapping; what is in the pages is looked
/// at through the other, as everybody does who has the guest's memory from the host. A backend that
/// puts other memory in the place of a page leaves the guest's as it was.
///
/// @unchecked Sendable: addresses only; a test that shares one between threads wants just that.
final class Block: @unchecked Sendable {
  /// The backend's mapping.
  let base: UnsafeMutableRawPointer
  let pageSize: Int
  /// Byte offsets of the pages that may be touched, ascending.
  let offsets: [UInt64]
  /// The same pages, all of which may always be touched.
  private let view: UnsafeMutableRawPointer
  /// Bytes of `base` and of `view`.
  private let size: Int
  private let mapping: UnsafeMutableRawPointer
  private let mappingSize: Int
  private let runs: [(offset: Int, size: Int)]
  private let device: UInt64
  private let inode: UInt64
  private var guardNumber: Int32 = -1
  private var access = GuardedMemory.Access.nothing

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
    size = runs.last.map { $0.offset + $0.size } ?? pageSize
    // Two pages in front and one behind, and room to start at a multiple of the page size.
    mappingSize = size + 3 * pageSize
    mapping = map(mappingSize, access: .nothing)
    let aligned =
      (UInt(bitPattern: mapping) + UInt(2 * pageSize) - 1) & ~UInt(pageSize - 1)
    base = UnsafeMutableRawPointer(bitPattern: aligned)!
    let file = clinux_memfd_create("block")
    var status = stat()
    guard file >= 0, ftruncate(file, size) == 0, fstat(file, &status) == 0 else {
      harnessFault("memory of \(size) bytes")
    }
    (device, inode) = (UInt64(status.st_dev), UInt64(status.st_ino))
    // Within the mapping: at most two pages in front, and one is left behind.
    guard mmap(base, size, PROT_NONE, MAP_SHARED | MAP_FIXED, file, 0) != MAP_FAILED,
      let view = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), view != MAP_FAILED
    else { harnessFault("mmap of \(size) bytes") }
    self.view = view
    close(file)
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
    self.access = access
  }

  /// A page, `pageSize` bytes from here on; one of `offsets`.
  func page(at offset: UInt64) -> UnsafeMutableRawPointer { view + Int(offset) }

  /// Fills every page; `content` of a page is chosen by its index.
  func fill(_ random: inout Seeded, _ content: (Int) -> Content) {
    for (index, offset) in offsets.enumerated() {
      content(index).fill(page(at: offset), pageSize, &random)
    }
  }

  func fill(_ content: Content, _ random: inout Seeded) { fill(&random) { _ in content } }

  static let poison = Filling.byte

  /// Makes every page differ from anything that is likely to be sent.
  func poison(with byte: UInt8 = poison) {
    for run in runs { memset(view + run.offset, Int32(byte), run.size) }
  }

  /// Makes these differ again.
  func poison(_ offsets: [UInt64]) {
    // Pages of this block.
    for offset in offsets { memset(page(at: offset), Int32(Self.poison), pageSize) }
  }

  /// Whether a page holds nothing but poison.
  func isPoisoned(_ offset: UInt64, with byte: UInt8 = poison) -> Bool {
    let page = bytes(at: offset)
    // The first byte is poison, and each equals the one behind it.
    return page[0] == byte && memcmp(page.baseAddress!, page.baseAddress! + 1, pageSize - 1) == 0
  }

  /// Whether a page is the same here and there.
  func equals(_ other: Block, at offset: UInt64) -> Bool {
    memcmp(page(at: offset), other.page(at: offset), pageSize) == 0
  }

  /// Looks for pages that hold something only in the backend's mapping. They are reported, and then
  /// hold it here too, so that it is judged no second time for that.
  func settle(_ offsets: [UInt64]) {
    for offset in offsets {
      // Both mappings have the page, and this one may be read while the block is the backend's.
      let (mine, theirs) = (page(at: offset), base + Int(offset))
      guard access != .nothing, memcmp(mine, theirs, pageSize) != 0 else { continue }
      Self.report("recv() has put other memory in the place of the page at \(offset)")
      memcpy(mine, theirs, pageSize)
    }
  }

  func bytes(at offset: UInt64) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: page(at: offset), count: pageSize)
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
    checkMapping()
    charness_guard_remove(guardNumber)
    munmap(mapping, mappingSize)
    munmap(view, size)
  }
}

extension Block {
  /// Where what is wrong with mappings is told, whoever notices it.
  private static let reporter = Locked<Reporter?>(nil)
  /// Blocks that are still going to be looked at in this process: it costs a look at all mappings.
  private static let left = Atomic(0)

  /// Has what is wrong with mappings reported there.
  static func report(to reporter: Reporter, isQuick: Bool) {
    Self.reporter.withLock { $0 = reporter }
    left.store(isQuick ? 8 : 64, ordering: .relaxed)
  }

  private static func report(_ text: String) {
    reporter.withLock { $0 }?.find("bounds/mappings", text)
  }

  /// Whether the backend's mapping still is what it was made of, and can be used as it was allowed.
  private func checkMapping() {
    guard Self.left.subtract(1, ordering: .relaxed).oldValue > 0 else { return }
    var bits: Int32 = 0
    guard clinux_is_mapped(base, size, device, inode, &bits) != 0 else {
      return Self.report("a block of guest memory is mapped otherwise than before")
    }
    if bits & ~access.bits != 0 {
      Self.report("pages of guest memory can be used otherwise than the host allows")
    }
  }
}
