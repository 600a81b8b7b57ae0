// What a payload ends with: an empty stored block at a byte's boundary, which is how a deflate
// stream is flushed.

enum Flush {
  /// Bytes of one that begins at a byte's boundary: three bits of a block's header, filled up; a
  /// length of 0, and its complement.
  static let length = 5

  /// Writes one, and returns how many bytes that took.
  static func write(_ bytes: UnsafeMutablePointer<UInt8>) -> Int {
    bytes.initialize(repeating: 0, count: 3)
    (bytes + 3).initialize(repeating: 0xff, count: 2)
    return length
  }

  /// Whether the `size` bytes at `bytes` end as a flush does.
  static func ends(_ bytes: UnsafePointer<UInt8>, _ size: Int) -> Bool {
    size >= 4 && bytes[size - 4] == 0 && bytes[size - 3] == 0 && bytes[size - 2] == 0xff
      && bytes[size - 1] == 0xff
  }
}
