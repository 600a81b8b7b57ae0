import CLinux
import Glibc

/// What fresh memory of the harness is full of, so that memory taken for zero shows.
///
/// A backend may ask for a hundred megabytes and touch little of them. They are one small file's
/// pages then, mapped over and over, and cost nothing before they are written to.
enum Filling {
  /// As it usually is.
  static let byte: UInt8 = 0xa5
  /// What it may be instead, where two fillings have to differ.
  static let other: UInt8 = 0x5a

  private static let chunk = 2 << 20
  /// From here on mapping is cheaper than writing.
  private static let least = 128 << 10

  /// Open from the start, or they would be taken for descriptors that the backend has left open.
  private static let files = [byte: clinux_memfd_create("a5"), other: clinux_memfd_create("5a")]

  /// Opens what is needed later.
  static func prepare() { _ = files }

  /// The files that are full.
  private static let filled = files.filter { byte, file in
    [UInt8](repeating: byte, count: chunk).withUnsafeBytes {
      // pwrite() is told the buffer's size. A backend that closes descriptors may have taken this
      // one, too.
      pwrite(file, $0.baseAddress, $0.count, 0) == chunk
    }
  }

  /// Fills `size` bytes at `start` that may be written to, the whole pages of a mapping of the
  /// caller's.
  static func fill(_ start: UnsafeMutableRawPointer, _ size: Int, with byte: UInt8 = byte) {
    if size >= least, let file = filled[byte] {
      var done = 0
      let flags = MAP_PRIVATE | MAP_FIXED | Int32(MAP_NORESERVE)
      while done < size {
        let count = min(chunk, size - done)
        // Inside the caller's pages, of which nothing is known yet: what was there may go.
        let place = mmap(start + done, count, PROT_READ | PROT_WRITE, flags, file, 0)
        if place == MAP_FAILED { break }
        done += count
      }
      if done >= size { return }
    }
    memset(start, Int32(byte), size)
  }
}
