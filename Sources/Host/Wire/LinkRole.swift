/// What a connection of a link is (docs/LINK.md section 3).
public enum LinkRole: Hashable, Sendable, CustomStringConvertible {
  /// QEMU's main channel, in both directions.
  case main
  /// QEMU's multifd channel of that number, which its init packet bears as well.
  case channel(UInt16)

  /// The highest number: QEMU's `multifd-channels` is 255 at most.
  public static let lastChannel: UInt16 = 254

  /// `main`, or `channel 3`.
  public var description: String {
    switch self {
    case .main: "main"
    case .channel(let number): "channel \(number)"
    }
  }

  /// The value of the field `role`.
  func encode() -> [UInt8] {
    switch self {
    case .main: return [0]
    case .channel(let number):
      var bytes: [UInt8] = [1]
      bytes.append(bigEndian: number)
      return bytes
    }
  }

  /// Decodes the field `role`.
  init(decoding field: LinkField) throws(WireError) {
    switch field.value.first {
    case 0:
      try field.check(1...1)
      self = .main
    case 1:
      try field.check(3...3)
      let number = UInt16(field.value[1]) << 8 | UInt16(field.value[2])
      guard number <= Self.lastChannel else {
        throw WireError(
          .limitExceeded, at: field.valueOffset + 1,
          "channel \(number), the last one can be \(Self.lastChannel)")
      }
      self = .channel(number)
    case .some(let kind):
      throw WireError(
        .unknownElement, at: field.valueOffset,
        "a connection of kind \(kind), unknown to link version \(LinkVersion.current)")
    case nil: throw WireError(.badLength, at: field.start + 2, "the field role is empty")
    }
  }
}
