import CHarness
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

  /// Full, and sealed: nobody changes them any more, a backend neither. The zygote makes them, and its
  /// children share them.
  private static let filled = [
    byte: charness_full_file("a5", Int32(byte), chunk),
    other: charness_full_file("5a", Int32(other), chunk),
  ].filter { $0.value >= 0 }

  /// Makes what is needed later. Open from the start, or it would be taken for descriptors that the
  /// backend has left open.
  static func prepare() { _ = filled }

  /// The descriptors of it.
  static var files: [Int32] { Array(filled.values) }

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
