/// The header of a device-state packet, flag 0x40 (SPECIFICATION section 3.4). Decoded only: VFIO
/// alone sends such packets, and only without compression.
public struct DeviceStatePacketHeader: Equatable, Sendable {
  /// Bytes on the wire.
  public static let size = 276

  /// The device's section name.
  public var name: String
  /// Which of the devices of that name.
  public var instance: UInt32
  /// Opaque bytes that follow, at least one. The caller compares it with what it allows.
  public var dataSize: UInt32

  /// Decodes `header`, which begins at byte `offset` of its channel.
  public init(decoding header: UnsafeRawBufferPointer, at offset: UInt64) throws(WireError) {
    let flags = try MultiFDPacketHeader.flags(inPrefix: header, at: offset)
    guard flags == .deviceState else {
      throw WireError(
        .unknownFlags, at: offset + 8,
        "a device-state packet has flags \(hex(MultiFDFlags.deviceState.rawValue)) alone, found \(hex(flags.rawValue))"
      )
    }
    guard header.count >= Self.size else {
      throw WireError(
        .truncated, at: offset + UInt64(header.count),
        "a device-state header has \(Self.size) bytes, the channel ends after \(header.count)")
    }
    let field = header.part(12..<268)
    let bytes = field.part(0..<(field.firstIndex(of: 0) ?? field.count))
    guard !bytes.isEmpty, bytes.count < field.count, bytes.isPrintable else {
      throw WireError(
        .badName, at: offset + 12, "the device's name is empty, unprintable or unterminated")
    }
    name = bytes.text
    instance = header.u32(268)
    dataSize = header.u32(272)
    guard dataSize > 0 else {
      throw WireError(.badLength, at: offset + 272, "a device-state packet without data")
    }
  }
}
