/// What a source sends first on every multifd channel, once (SPECIFICATION section 3.2).
public struct MultiFDInit: Equatable, Sendable {
  /// Bytes on the wire.
  public static let size = 64
  /// The first four bytes of everything on a multifd channel.
  public static let magic: UInt32 = 0x1122_3344
  /// The only version there is.
  public static let version: UInt32 = 1

  /// The source's UUID. A receiver fails unless it is its own; a sender writes the destination's.
  public var uuid: VMUUID
  /// The channel's number, 0 to channels - 1. The caller compares it with its channel count.
  public var id: UInt8

  /// The packet of channel `id`.
  public init(uuid: VMUUID, id: UInt8) {
    self.uuid = uuid
    self.id = id
  }

  /// Decodes `bytes`, which begin at byte `offset` of the channel. Fewer than `size` bytes are
  /// `truncated`.
  ///
  /// The 39 reserved bytes are not looked at: a stock receiver does not either.
  public init(decoding bytes: UnsafeRawBufferPointer, at offset: UInt64 = 0) throws(WireError) {
    guard bytes.count >= Self.size else {
      throw WireError(
        .truncated, at: offset + UInt64(bytes.count),
        "a multifd init packet has \(Self.size) bytes, the channel ends after \(bytes.count)")
    }
    try checkMultiFDPrefix(bytes, at: offset)
    uuid = VMUUID(high: bytes.u64(8), low: bytes.u64(16))
    id = bytes.u8(24)
  }

  /// The 64 bytes.
  public func encode() -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Self.size)
    bytes.append(bigEndian: Self.magic)
    bytes.append(bigEndian: Self.version)
    bytes += uuid.bytes
    bytes.append(id)
    bytes += repeatElement(0, count: 39)
    return bytes
  }
}

/// Checks magic and version, the first eight bytes of every multifd packet; `bytes` has them.
@inline(__always)
func checkMultiFDPrefix(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(WireError) {
  guard bytes.u32(0) == MultiFDInit.magic else {
    throw WireError(
      .badMagic, at: offset,
      "expected multifd magic \(hex(MultiFDInit.magic)), found \(hex(bytes.u32(0)))")
  }
  guard bytes.u32(4) == MultiFDInit.version else {
    throw WireError(
      .badVersion, at: offset + 4,
      "expected multifd version \(MultiFDInit.version), found \(bytes.u32(4))")
  }
}
