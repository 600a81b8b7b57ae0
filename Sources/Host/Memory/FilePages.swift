import CLinux
import Glibc
import Synchronization

/// What pages the memory of a file comes in: what it costs to get it.
///
/// A GiB of a tmpfs in pages of 4 KiB takes a second of processor time to get, in pages of 2 MiB a
/// tenth of that; copying into it is quicker, too.
public struct FilePages: Equatable, Sendable {
  /// What keeps the file.
  public enum FileSystem: String, Sendable {
    /// Memory, or swap. A memfd is one of its files.
    case tmpfs
    /// Pages of the machine's pool of huge pages, of its size and no other.
    case hugetlbfs
    /// The page cache of a disk.
    case other
  }

  /// Bytes of a page, where the kernel has one of that size to give.
  public let size: Int
  /// What keeps the file.
  public let fileSystem: FileSystem

  /// What was seen, or is expected.
  public init(size: Int, fileSystem: FileSystem) {
    (self.size, self.fileSystem) = (size, fileSystem)
  }

  /// Whether they are bigger than the processor's smallest.
  public var isHuge: Bool { size > Self.base }

  /// Bytes of the smallest page.
  public static let base = sysconf(Int32(_SC_PAGESIZE))

  /// Bytes of a transparent huge page; nil where the kernel has none.
  static let transparent: Int? = {
    let file = open("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var digits = [UInt8](repeating: 0, count: 32)
    let count = read(file, &digits, digits.count)
    let text = String(decoding: digits.prefix(max(count, 0)).filter { $0 > 0x20 }, as: UTF8.self)
    // Of a size that one level of page tables gives, whatever the file may say.
    return Int(text).flatMap { $0 > base && $0 <= 1 << 30 && $0 & ($0 - 1) == 0 ? $0 : nil }
  }()

  /// Bytes of a huge page; of a small one where the kernel has no others.
  public static var hugeSize: Int { transparent ?? base }

  /// How a file is to be mapped.
  struct Layout {
    /// Bytes: where a mapping should begin so that huge pages fit into it.
    let alignment: Int
    /// Bytes: what it has to be whole pieces of.
    let unit: Int
    let fileSystem: FileSystem

    /// What a length becomes in whole pieces.
    func rounded(_ length: Int) -> Int { (length + unit - 1) / unit * unit }
  }

  /// How a file is to be mapped, or one that is to be in that folder.
  static func layout(of descriptor: Int32) -> Layout {
    var block: Int64 = 0
    switch clinux_file_system(descriptor, &block) {
    case hugetlbfsMagic where block > base:
      return Layout(alignment: Int(block), unit: Int(block), fileSystem: .hugetlbfs)
    case tmpfsMagic: return Layout(alignment: hugeSize, unit: base, fileSystem: .tmpfs)
    default: return Layout(alignment: hugeSize, unit: base, fileSystem: .other)
    }
  }

  /// What the kernel would give a mapping of a file.
  static func offered(to mapping: Mapping, of descriptor: Int32) -> FilePages {
    let layout = mapping.layout
    if layout.fileSystem == .hugetlbfs {
      return FilePages(size: layout.unit, fileSystem: .hugetlbfs)
    }
    guard let transparent, mapping.length >= transparent, isEligible(mapping, of: descriptor) else {
      return FilePages(size: base, fileSystem: layout.fileSystem)
    }
    return FilePages(size: transparent, fileSystem: layout.fileSystem)
  }

  /// Whether the kernel may use huge pages for a mapping that has room for one. The answer is the
  /// mount's (`huge=`) and the machine's, and to get it the kernel walks all memory of the process:
  /// it is asked once for a mount.
  private static func isEligible(_ mapping: Mapping, of descriptor: Int32) -> Bool {
    var mount: UInt64 = 0
    let isKnown = clinux_mount_id(descriptor, &mount) == 0
    if isKnown, let known = eligible.withLock({ $0[mount] }) { return known }
    let answer = mapping.told?.eligible ?? 0 != 0
    if isKnown { eligible.withLock { $0[mount] = answer } }
    return answer
  }

  private static let eligible = Mutex<[UInt64: Bool]>([:])

  // The numbers of linux/magic.h.
  private static let tmpfsMagic: Int64 = 0x0102_1994
  private static let hugetlbfsMagic: Int64 = 0x9584_58f6
}
