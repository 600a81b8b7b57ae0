// The wire format `lz4/1`, as README.md in this folder specifies it.

/// A packet's pages, one after the other, are cut into segments of 512 KiB (the last is shorter). A
/// payload is a table with an entry for each segment, then the segments' bodies in order.
///
/// 512 KiB: QEMU's packet is one segment, and a channel's memory depends on the segment and not on
/// the size of pages. Measured from 4 KiB up, ratio and speed grow with the segment and level off
/// here.
enum Format {
  static let segmentSize = 512 * 1024

  /// Bytes of one entry of the table.
  static let entrySize = 4

  /// How many segments `byteCount` bytes of pages make.
  static func segments(_ byteCount: Int) -> Int {
    byteCount / segmentSize + (byteCount % segmentSize > 0 ? 1 : 0)
  }

  /// How a body is to be read.
  enum Kind: UInt8 {
    /// The bytes of the pages themselves.
    case raw = 0
    /// One LZ4 block (lz4_Block_format.md), shorter than what it decodes to.
    case block = 1
  }

  /// An entry of the table: kind in the first byte, then the body's length in three, big-endian.
  struct Entry {
    let kind: Kind
    let length: Int

    init(_ kind: Kind, length: Int) {
      self.kind = kind
      self.length = length
    }

    /// Reads the entry at `bytes`, which has 4. Fails unless it can belong to a segment of `size`
    /// bytes: raw is as long as the segment, a block is shorter and not empty.
    init(_ bytes: UnsafePointer<UInt8>, segment size: Int) throws(Failure) {
      guard let kind = Kind(rawValue: bytes[0]) else {
        throw .corrupt("a segment of a kind that lz4/1 does not have")
      }
      let length = Int(bytes[1]) << 16 | Int(bytes[2]) << 8 | Int(bytes[3])
      switch kind {
      case .raw where length != size:
        throw .corrupt("a raw segment is not as long as its pages")
      case .block where length == 0 || length >= size:
        throw .corrupt("a compressed segment is empty, or not shorter than its pages")
      default:
        self.init(kind, length: length)
      }
    }

    /// Writes the entry to `bytes`, which has 4. Every length that occurs has 20 bits.
    func write(_ bytes: UnsafeMutablePointer<UInt8>) {
      bytes[0] = kind.rawValue
      bytes[1] = UInt8(truncatingIfNeeded: length >> 16)
      bytes[2] = UInt8(truncatingIfNeeded: length >> 8)
      bytes[3] = UInt8(truncatingIfNeeded: length)
    }
  }
}
