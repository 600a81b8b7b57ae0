/// A virtual machine's UUID (`-uuid`); zero when it was not given. In the order of the wire.
public struct VMUUID: Hashable, Sendable, CustomStringConvertible {
  /// Bytes 0 to 7, byte 0 in the most significant place.
  let high: UInt64
  /// Bytes 8 to 15, in the same way.
  let low: UInt64

  /// What a VM without `-uuid` has.
  public static let zero = VMUUID(high: 0, low: 0)

  init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// The first 16 bytes of `bytes`; nil when there are fewer.
  public init?(bytes: some Sequence<UInt8>) {
    var words: (UInt64, UInt64) = (0, 0)
    var count = 0
    for byte in bytes.prefix(16) {
      if count < 8 {
        words.0 = words.0 << 8 | UInt64(byte)
      } else {
        words.1 = words.1 << 8 | UInt64(byte)
      }
      count += 1
    }
    guard count == 16 else { return nil }
    self.init(high: words.0, low: words.1)
  }

  /// Reads `8-4-4-4-12` hexadecimal digits; nil for anything else.
  public init?(_ text: String) {
    let groups = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
    guard groups.map(\.count) == [8, 4, 4, 4, 12] else { return nil }
    var words: (UInt64, UInt64) = (0, 0)
    for digit in groups.joined() {
      guard let value = Character(UnicodeScalar(digit)).hexDigitValue else { return nil }
      words.0 = words.0 << 4 | words.1 >> 60
      words.1 = words.1 << 4 | UInt64(value)
    }
    self.init(high: words.0, low: words.1)
  }

  /// The 16 bytes in the order of the wire.
  public var bytes: [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(bigEndian: high)
    bytes.append(bigEndian: low)
    return bytes
  }

  /// `8-4-4-4-12` lowercase hexadecimal digits.
  public var description: String {
    var text = ""
    for (index, byte) in bytes.enumerated() {
      if index == 4 || index == 6 || index == 8 || index == 10 { text += "-" }
      text += (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }
    return text
  }
}
