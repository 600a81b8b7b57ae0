/// Payloads of other formats, and bombs of well-known ones, by hand.
enum ForeignPayloads {
  static let all: [(String, [UInt8])] = [
    ("a zlib stream of one stored block", zlibStored), ("a zlib bomb", zlibBomb),
    ("an empty zlib stream", [0x78, 0x9c, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01]),
    ("a zlib stream that wants a dictionary", [0x78, 0xbb, 1, 2, 3, 4, 0x03, 0x00]),
    ("a gzip header", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ("a zstd frame of repeated bytes", zstdBomb), ("a zstd frame with a huge window", zstdWindow),
    ("a zstd skippable frame", [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]),
    ("a zstd skippable frame without end", [0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff, 1]),
    ("an lz4 block of one long match", lz4Bomb),
    ("an lz4 frame", [0x04, 0x22, 0x4d, 0x18, 0x64, 0x40, 0xa7, 0, 0, 0, 0]),
    ("zeroes", [UInt8](repeating: 0, count: 4096)), ("ones", [UInt8](repeating: 255, count: 4096)),
  ]

  /// RFC 1950 and 1951: header, one stored block of 4 bytes, a sync flush.
  private static let zlibStored: [UInt8] =
    [0x78, 0x01, 0x00, 0x04, 0x00, 0xfb, 0xff, 1, 2, 3, 4, 0x00, 0x00, 0x00, 0xff, 0xff]

  /// A block of the fixed code: a zero, then matches of 258 zeroes, 13 bits each (8 for the length
  /// 258, code 285; 5 for distance 1).
  private static let zlibBomb: [UInt8] = {
    var bits = BitWriter()
    bits.put(0b011, 3)  // last block 1, type 01, first bit first
    bits.putCode(0x30, 8)  // literal 0
    for _ in 0..<20_000 {
      bits.putCode(0b1100_0101, 8)  // 285
      bits.putCode(0, 5)  // distance 1
    }
    bits.putCode(0, 7)  // end of block
    return [0x78, 0x01] + bits.bytes
  }()

  /// RFC 8878: a frame without content size, then blocks of type RLE that claim 128 KiB of zeroes
  /// each.
  private static let zstdBomb: [UInt8] = {
    var bytes: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38]
    for _ in 0..<2000 {
      let header = UInt32(128 << 10) << 3 | 1 << 1
      bytes += [UInt8(header & 255), UInt8(header >> 8 & 255), UInt8(header >> 16), 0]
    }
    return bytes
  }()

  /// A window descriptor of 2^41 bytes.
  private static let zstdWindow: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 0x23, 0, 0, 0]

  /// A token with one literal and a match length of 15 and 255 times 8000.
  private static let lz4Bomb: [UInt8] =
    [0x1f, 0x00, 0x01, 0x00] + [UInt8](repeating: 255, count: 8000) + [0x00, 0x50, 1, 2, 3, 4, 5]

  private struct BitWriter {
    var bytes: [UInt8] = []
    private var used = 8

    /// Low bit first.
    mutating func put(_ value: UInt32, _ count: Int) {
      for bit in 0..<count {
        if used == 8 {
          bytes.append(0)
          used = 0
        }
        bytes[bytes.count - 1] |= UInt8(value >> UInt32(bit) & 1) << UInt8(used)
        used += 1
      }
    }

    /// Huffman codes go high bit first.
    mutating func putCode(_ code: UInt32, _ count: Int) {
      for bit in (0..<count).reversed() { put(code >> UInt32(bit) & 1, 1) }
    }
  }
}
