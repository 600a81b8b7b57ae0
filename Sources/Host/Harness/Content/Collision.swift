import Glibc

/// Two pages that differ, and that a checksum of 32 bits, or a weaker one, takes for the same: who
/// tells pages by that alone sends the wrong one.
package enum Collision: CaseIterable {
  case crc32, crc32c, adler32, sum, xor, fnv1a

  /// Changes both pages, which are the same and of `size` bytes, 64 at least.
  package func make(
    _ one: UnsafeMutableRawPointer, _ other: UnsafeMutableRawPointer, _ size: Int
  ) {
    switch self {
    // A multiple of the generator makes no difference to the remainder. Its highest term is the bit
    // that comes first.
    case .crc32: exclusiveOr(other + size / 2, 1 | 0xedb8_8320 << 1)
    case .crc32c: exclusiveOr(other + size / 2, 1 | 0x82f6_3b78 << 1)
    case .adler32:
      // Neither the sum of three bytes is another, nor that of their sums.
      for (place, value) in [(0, 100), (1, 100), (2, 100)] { set(one + size / 2 + place, value) }
      for (place, value) in [(0, 101), (1, 98), (2, 101)] { set(other + size / 2 + place, value) }
    case .sum:
      for place in [16, size - 16] {
        set(one + place, 100)
        set(other + place, place == 16 ? 101 : 99)
      }
    case .xor:
      for place in [16, size - 16] { exclusiveOr(other + place, 0x1357_9bdf_0246_8ace) }
    case .fnv1a:
      // Found by trial: what these eight bytes become is the same.
      memcpy(one, "0004a0f5", 8)
      memcpy(other, "000bec20", 8)
    }
  }

  private func exclusiveOr(_ place: UnsafeMutableRawPointer, _ word: UInt64) {
    // Eight bytes inside a page, as the caller says.
    place.storeBytes(of: place.loadUnaligned(as: UInt64.self) ^ word, as: UInt64.self)
  }

  private func set(_ place: UnsafeMutableRawPointer, _ value: Int) {
    place.storeBytes(of: UInt8(value), as: UInt8.self)
  }
}
