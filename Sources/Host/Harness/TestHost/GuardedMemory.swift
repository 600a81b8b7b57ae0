import CHarness
import Glibc

/// What a piece of guarded memory is: CHARNESS_TARGET and so on.
enum MemoryKind: Int32 {
  case target = 1
  case source, list, staleList, staleBlock, options, services, reference, iov, params, allocation
  case freed
  // What lies between is no GuardedMemory.
  case staleOptions = 14
  case lesson, room
}

/// Memory that ends at a page nobody may touch, and starts behind one.
///
/// @unchecked Sendable: an address and a size; who may write to the memory is its owner's business.
final class GuardedMemory: @unchecked Sendable {
  enum Access {
    case nothing, reading, writing

    var bits: Int32 {
      switch self {
      case .nothing: PROT_NONE
      case .reading: PROT_READ
      case .writing: PROT_READ | PROT_WRITE
      }
    }
  }

  let base: UnsafeMutableRawPointer
  let size: Int
  private let mapping: UnsafeMutableRawPointer
  private let mappingSize: Int
  private let slack: Int
  private var guardNumber: Int32
  private let filling: UInt8
  /// What may be done with it now.
  private var access = Access.nothing

  private static let page = 4096
  private static let canary: UInt8 = 0xc9

  /// Contents are ``Filling``. `alignment` is a power of two. So many bytes `behind` it are between
  /// its end and the page that nobody may touch: none, unless it is to lie at an odd place. Closed:
  /// off limits until it is opened.
  init(
    _ size: Int, alignment: Int, kind: MemoryKind, behind: Int = 0, filling: UInt8 = Filling.byte,
    isClosed: Bool = false
  ) {
    self.filling = filling
    let page = Self.page
    // Behind the first page, so that it may be aligned to more than a page.
    let lead = max(page, alignment)
    let body = (size + behind + page - 1) / page * page
    let whole = max(body, page) + lead + 2 * page
    mapping = Mappings.take(whole)
    mappingSize = whole
    // Against the end; what alignment leaves between there and the guard page holds a canary.
    let end = UInt(bitPattern: mapping) + UInt(whole - page)
    let start = (end - UInt(size + behind)) & ~UInt(alignment - 1)
    base = UnsafeMutableRawPointer(bitPattern: start)!
    slack = Int(end - start) - size
    self.size = size
    guardNumber = charness_guard_add(mapping, whole, kind.rawValue, 0)
    if !isClosed { open() }
  }

  /// Memory to write to, with its first contents.
  func open() {
    allow(.writing)
    Filling.fill(pages.start, pages.size, with: filling)
    memset(base + size, Int32(Self.canary), slack)
  }

  /// What may be done with it from now on. A fault then counts as one of `kind`, if that is given.
  func allow(_ access: Access, kind: MemoryKind? = nil) {
    if access != self.access { protect(pages.start, pages.size, access) }
    self.access = access
    guard let kind else { return }
    charness_guard_remove(guardNumber)
    guardNumber = charness_guard_add(mapping, mappingSize, kind.rawValue, 0)
  }

  /// Whole pages of our own mapping, between its first and its last page.
  private var pages: (start: UnsafeMutableRawPointer, size: Int) {
    let first = UInt(bitPattern: base) & ~UInt(Self.page - 1)
    let length = Int(UInt(bitPattern: mapping) + UInt(mappingSize - Self.page) - first)
    return (UnsafeMutableRawPointer(bitPattern: first)!, length)
  }

  /// False when somebody wrote between its end and the guard page.
  var isSlackIntact: Bool {
    UnsafeRawBufferPointer(start: base + size, count: slack).allSatisfy { $0 == Self.canary }
  }

  deinit {
    charness_guard_remove(guardNumber)
    allow(.nothing)
    Mappings.giveBack(mapping, mappingSize)
  }

  /// Mappings that nobody may touch, kept for the next piece of their size: the drivers of a
  /// channel need some each, and to map and unmap them would be most of their work.
  private enum Mappings {
    /// Addresses by size: of mappings of ours that no piece has.
    private static let spare = Locked<[Int: [UInt]]>([:])
    /// What is larger is rare, and its pages are better given back.
    private static let largest = 96 << 10
    private static let most = 32

    static func take(_ size: Int) -> UnsafeMutableRawPointer {
      let address = size > largest ? nil : spare.withLock { $0[size]?.popLast() }
      return address.flatMap { UnsafeMutableRawPointer(bitPattern: $0) } ?? fresh(size)
    }

    /// The pages that stay off limits are left out of core dumps. There is nothing in them, but to
    /// the kernel they are then something else than what is between, also while that is off limits:
    /// opening and closing it splits no mapping and joins none, which is most of what it costs.
    private static func fresh(_ size: Int) -> UnsafeMutableRawPointer {
      let mapping = map(size, access: .nothing)
      if size <= largest {
        // The first two pages and the last of a mapping that has four at least. In vain: no matter.
        _ = madvise(mapping, 2 * page, MADV_DONTDUMP)
        _ = madvise(mapping + size - page, page, MADV_DONTDUMP)
      }
      return mapping
    }

    /// Takes a mapping of `size` bytes that is off limits from its first page to its last.
    static func giveBack(_ mapping: UnsafeMutableRawPointer, _ size: Int) {
      let isKept =
        size <= largest
        && spare.withLock { spare in
          guard spare[size, default: []].count < most else { return false }
          spare[size, default: []].append(UInt(bitPattern: mapping))
          return true
        }
      if !isKept { munmap(mapping, size) }
    }
  }
}

/// Fresh memory; without memory for its own buffers the harness cannot go on.
func map(_ size: Int, access: GuardedMemory.Access) -> UnsafeMutableRawPointer {
  let flags = MAP_PRIVATE | Int32(MAP_ANONYMOUS) | Int32(MAP_NORESERVE)
  let address = mmap(nil, size, access.bits, flags, -1, 0)
  guard let address, address != MAP_FAILED else { harnessFault("mmap of \(size) bytes") }
  return address
}

func protect(_ address: UnsafeMutableRawPointer, _ size: Int, _ access: GuardedMemory.Access) {
  if size > 0, mprotect(address, size, access.bits) != 0 { harnessFault("mprotect") }
}

/// Ends the process: a fault of the harness, not a result.
func harnessFault(_ text: String) -> Never {
  let line = "harness: \(text): \(String(cString: strerror(errno)))\n"
  Array(line.utf8).withUnsafeBytes { _ = writeAll(2, $0) }
  _exit(CHARNESS_FAULT)
}
