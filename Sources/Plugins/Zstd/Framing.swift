// The outline of a zstd stream: where frames and blocks begin and end (RFC 8878, 3.1).

/// Follows a channel's frames and blocks from packet to packet, without decoding them.
///
/// libzstd takes input that stops anywhere and waits for the rest, so it cannot tell a payload that
/// has lost its end, or has a byte too many, from a whole one. Every encoder that makes a packet's
/// pages available ends the payload with a block or with a frame; this holds a peer to that.
struct Framing {
  /// What the next payload starts with.
  private enum Place {
    case frame
    case block(hasChecksum: Bool)
  }

  private var place = Place.frame

  private static let magic: UInt32 = 0xfd2f_b528
  /// Any of 16 magic numbers starts a frame that decoders skip.
  private static let skippable: UInt32 = 0x184d_2a50

  /// Walks the payload in `bytes`, which is readable for `size` bytes. Each step moves on by 3
  /// bytes or more, so hostile input costs no more than its length. Sizes have 32 bits: no
  /// overflow.
  mutating func follow(_ bytes: UnsafePointer<UInt8>, _ size: Int) throws(Failure) {
    var at = 0
    while at < size {
      switch place {
      case .frame: at += try frameHeader(bytes + at, size - at)
      case .block(let hasChecksum): at += try block(bytes + at, size - at, hasChecksum)
      }
    }
    // A part's length is taken from its header; here is where it turns out to be there or not.
    guard at == size else { throw .corrupt("the payload does not end with a zstd block") }
  }

  /// The length of the frame header at `bytes`, or of a whole frame that is to be skipped.
  private mutating func frameHeader(_ bytes: UnsafePointer<UInt8>, _ left: Int) throws(Failure)
    -> Int
  {
    guard left >= 5 else { throw .corrupt("the payload ends inside a zstd frame header") }
    let magic = Self.word(bytes)
    if magic & ~0xf == Self.skippable {
      guard left >= 8 else { throw .corrupt("the payload ends inside a zstd frame header") }
      return 8 + Int(Self.word(bytes + 4))
    }
    guard magic == Self.magic else { throw .corrupt("not a zstd frame") }
    let descriptor = bytes[4]
    let isSingleSegment = descriptor & 0x20 != 0
    let window = isSingleSegment ? 0 : 1
    let dictionary = (1 << Int(descriptor & 3)) >> 1
    let content = descriptor >> 6 == 0 ? (isSingleSegment ? 1 : 0) : 1 << Int(descriptor >> 6)
    place = .block(hasChecksum: descriptor & 4 != 0)
    return 5 + window + dictionary + content
  }

  /// The length of the block at `bytes`, and of the checksum that follows a frame's last one.
  private mutating func block(
    _ bytes: UnsafePointer<UInt8>, _ left: Int, _ hasChecksum: Bool
  ) throws(Failure) -> Int {
    guard left >= 3 else { throw .corrupt("the payload ends inside a zstd block header") }
    let header = Int(bytes[0]) | Int(bytes[1]) << 8 | Int(bytes[2]) << 16
    let isLast = header & 1 != 0
    let isRepeatedByte = header >> 1 & 3 == 1
    if isLast { place = .frame }
    return 3 + (isRepeatedByte ? 1 : header >> 3) + (isLast && hasChecksum ? 4 : 0)
  }

  /// A little-endian number of 32 bits.
  private static func word(_ bytes: UnsafePointer<UInt8>) -> UInt32 {
    UInt32(bytes[0]) | UInt32(bytes[1]) << 8 | UInt32(bytes[2]) << 16 | UInt32(bytes[3]) << 24
  }
}
