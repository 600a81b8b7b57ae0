import CLinux
import Glibc

/// Pages of a real guest, in the place of those that are made up to look like it: a raw image of
/// memory, such as a block's file in a store.
///
/// @unchecked Sendable: constant after init, and pread(2) neither has nor moves a position.
final class PageFile: @unchecked Sendable {
  private let descriptor: Int32
  private let size: Int
  /// What pages are told apart by; larger ones are as many of these in a row.
  static let pageSize = 4096

  /// Set before a test begins, and not again in it.
  nonisolated(unsafe) static var current: PageFile?

  /// Nil for what is not a regular file of at least a page.
  init?(_ path: String) {
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    var status = stat()
    guard descriptor >= 0, fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
      status.st_size >= Self.pageSize
    else {
      size = 0
      return nil
    }
    size = Int(status.st_size)
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Fills `count` bytes with what stands somewhere in the file. A backend gets no pages of zeroes
  /// from its host, and a guest has many: others are looked for.
  func fill(_ page: UnsafeMutableRawPointer, _ count: Int, _ random: inout Seeded) {
    memset(page, 0, count)
    for _ in 0..<16 {
      let pages = UInt64(size / Self.pageSize)
      var offset = Int(random.next() % pages) * Self.pageSize
      // Over a hole; from the last one back to the front.
      let data = Int(clamping: clinux_seek_data(descriptor, Int64(offset)))
      if data > offset { offset = min(data, size - Self.pageSize) / Self.pageSize * Self.pageSize }
      read(page, min(count, size - offset), at: offset)
      if count > size - offset { read(page + size - offset, count - size + offset, at: 0) }
      if !isZero(page, count) { return }
    }
  }

  /// `count` bytes at `page` are the caller's; what the file no longer has stays as it is.
  private func read(_ page: UnsafeMutableRawPointer, _ count: Int, at offset: Int) {
    var done = 0
    while done < count {
      let got = pread(descriptor, page + done, count - done, off_t(offset + done))
      if got < 0, errno == EINTR { continue }
      guard got > 0 else { return }
      done += got
    }
  }

  private func isZero(_ page: UnsafeMutableRawPointer, _ count: Int) -> Bool {
    // Each byte is the one before it, and the first is 0; all within the caller's `count` bytes.
    page.load(as: UInt8.self) == 0 && memcmp(page, page + 1, count - 1) == 0
  }
}
