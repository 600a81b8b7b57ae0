import CLinux
import Glibc
import System

/// A shared mapping of a part of a file, which begins where huge pages fit into it and has asked for
/// them.
final class Mapping: Sendable {
  /// Where it begins. Valid while this object lives.
  nonisolated(unsafe) let base: UnsafeMutableRawPointer
  /// How the file is mapped.
  let layout: FilePages.Layout
  /// Bytes: what was asked for, in whole pieces.
  let length: Int

  /// Maps a part of a file, without touching its memory.
  ///
  /// - Parameters:
  ///   - descriptor: at least as long as ``RAMBlock/fileLength(_:in:)`` says.
  ///   - offset: where the part begins: at a multiple of the layout's alignment.
  ///   - protection: bits of PROT_*.
  /// - Throws: ENOSPC where a hugetlbfs has no room for all of it: it keeps what it promises.
  init(
    _ descriptor: Int32, from offset: Int = 0, length given: Int, protection: Int32
  ) throws(SystemError) {
    layout = FilePages.layout(of: descriptor)
    length = layout.rounded(given)
    // Addresses of nobody, with as much more as an aligned start may need; what is not used goes
    // back. All of these are whole pages.
    let alignment = length >= layout.alignment ? layout.alignment : layout.unit
    let room = length + alignment
    let free = mmap(nil, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let free, free != MAP_FAILED else { throw SystemError("mmap") }
    let before = -Int(bitPattern: free) & (alignment - 1)
    // Inside what was got above, which nobody else has.
    let mapped = mmap(
      free + before, length, protection, MAP_SHARED | MAP_FIXED, descriptor, off_t(offset))
    guard let mapped, mapped != MAP_FAILED else {
      var error = SystemError("mmap")
      munmap(free, room)
      if layout.fileSystem == .hugetlbfs, error.errno == ENOMEM {
        error = SystemError("the machine's pool has too few huge pages", errno: ENOSPC)
      }
      throw error
    }
    if before > 0 { munmap(free, before) }
    if before < alignment { munmap(mapped + length, alignment - before) }
    // A wish. Where there are none it is refused, or ignored.
    if layout.fileSystem != .hugetlbfs { _ = madvise(mapped, length, Int32(MADV_HUGEPAGE)) }
    base = mapped
  }

  deinit { munmap(base, length) }

  /// What the kernel says of it now; nil where it says nothing.
  var told: clinux_mapping? {
    var told = clinux_mapping()
    return clinux_tell_mapping(base, &told) == 0 ? told : nil
  }
}
