import Harness
import Testing

/// Pages that are there to be taken for one another.
@Suite struct CollisionTests {
  @Test(
    "the pages of a collision differ, and their checksum does not", arguments: Collision.allCases)
  func collides(_ collision: Collision) {
    for base: UInt8 in [0, 0x61] {
      var one = [UInt8](repeating: base, count: 4096), other = one
      one.withUnsafeMutableBytes { one in
        other.withUnsafeMutableBytes { other in
          // Both have as many bytes as is said.
          collision.make(one.baseAddress!, other.baseAddress!, one.count)
        }
      }
      #expect(one != other)
      #expect(checksum(collision, one) == checksum(collision, other))
    }
  }

  private func checksum(_ collision: Collision, _ page: [UInt8]) -> UInt64 {
    switch collision {
    case .crc32: crc(page, 0xedb8_8320)
    case .crc32c: crc(page, 0x82f6_3b78)
    case .adler32:
      page.reduce(into: (low: UInt64(1), high: UInt64(0))) { sums, byte in
        sums.low = (sums.low + UInt64(byte)) % 65521
        sums.high = (sums.high + sums.low) % 65521
      }.high << 16
    case .sum: page.reduce(0) { $0 + UInt64($1) }
    case .xor: words(page).reduce(0, ^)
    case .fnv1a:
      page.reduce(0x811c_9dc5) { ($0 ^ UInt64($1)) &* 0x0100_0193 & 0xffff_ffff }
    }
  }

  private func crc(_ page: [UInt8], _ polynomial: UInt64) -> UInt64 {
    page.reduce(0xffff_ffff) { crc, byte in
      (0..<8).reduce(crc ^ UInt64(byte)) { crc, _ in crc >> 1 ^ (crc & 1) * polynomial }
    }
  }

  private func words(_ page: [UInt8]) -> [UInt64] {
    stride(from: 0, to: page.count, by: 8).map { at in
      page[at..<at + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
  }
}
