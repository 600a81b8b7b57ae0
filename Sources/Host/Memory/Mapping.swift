import CLinux
import Glibc
import System

/// A shared mapping of the first bytes of a file, which begins where huge pages fit into it.
final class Mapping: Sendable {
  /// Where it begins. Valid while this object lives.
  nonisolated(unsafe) let base: UnsafeMutableRawPointer
  /// What its memory comes in.
  let pages: FilePages
  /// Bytes: what was asked for, in whole pages of the file.
  private let length: Int

  /// Maps a file, without touching its memory.
  ///
  /// - Parameters:
  ///   - descriptor: at least as long as ``RAMBlock/fileLength(_:in:)`` says.
  ///   - protection: bits of PROT_*.
  /// - Throws: ENOSPC where a hugetlbfs has no room for all of it: it keeps what it promises.
  init(_ descriptor: Int32, length given: Int, protection: Int32) throws(SystemError) {
    let layout = FilePages.layout(of: descriptor)
    length = (given + layout.unit - 1) / layout.unit * layout.unit
    // Addresses of nobody, with as much more as an aligned start may need; what is not used goes back.
    let alignment = length >= layout.alignment ? layout.alignment : layout.unit
    let room = length + alignment
    let free = mmap(nil, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let free, free != MAP_FAILED else { throw SystemError("mmap") }
    let start = Int(bitPattern: free)
    let aligned = (start + alignment - 1) & ~(alignment - 1)
    // Inside what was got above, which nobody else has.
    let place = free + (aligned - start)
    let mapped = mmap(place, length, protection, MAP_SHARED | MAP_FIXED, descriptor, 0)
    guard let mapped, mapped != MAP_FAILED else {
      var error = SystemError("mmap")
      munmap(free, room)
      if layout.fileSystem == .hugetlbfs, error.errno == ENOMEM {
        error = SystemError("the machine's pool has too few huge pages", errno: ENOSPC)
      }
      throw error
    }
    let end = (length + FilePages.base - 1) & ~(FilePages.base - 1)
    if aligned > start { munmap(free, aligned - start) }
    if aligned + end < start + room { munmap(mapped + end, start + room - aligned - end) }
    // A wish. Where there are none it is refused, or ignored.
    if layout.fileSystem != .hugetlbfs { _ = madvise(mapped, length, Int32(MADV_HUGEPAGE)) }
    base = mapped
    pages = FilePages.offered(to: mapped, length, of: descriptor)
  }

  deinit { munmap(base, length) }
}
