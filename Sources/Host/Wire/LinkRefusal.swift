/// Why the answering side of a link refuses: one line, which the connecting side prints
/// (docs/LINK.md section 4).
public struct LinkRefusal: Error, Equatable, Sendable, CustomStringConvertible {
  /// Bytes that it has at most.
  public static let maxSize = 512

  /// 1 to 512 printable bytes.
  public let text: String

  /// The line for `text`: what is not printable ASCII becomes `?`, and what is too long ends in
  /// `...`.
  public init(_ text: String) {
    var bytes = text.unicodeScalars.prefix(Self.maxSize + 1).map { scalar in
      (0x20..<0x7f).contains(scalar.value) ? UInt8(scalar.value) : UInt8(ascii: "?")
    }
    if bytes.count > Self.maxSize {
      bytes.removeLast(bytes.count - Self.maxSize + 3)
      bytes += Array("...".utf8)
    }
    self.text = bytes.isEmpty ? "no reason is given" : String(decoding: bytes, as: UTF8.self)
  }

  /// The refusal of a hello that does not decode. What is said of versions is a sentence already.
  public init(_ error: WireError) {
    self.init(error.code == .badVersion ? error.message : "the hello: \(error)")
  }

  /// The same as `text`.
  public var description: String { text }

  /// Decodes the field `refused`.
  init(decoding field: LinkField) throws(WireError) {
    try field.check(1...Self.maxSize)
    guard field.value.allSatisfy({ (0x20..<0x7f).contains($0) }) else {
      throw WireError(.badName, at: field.valueOffset, "the refusal has unprintable bytes")
    }
    text = String(decoding: field.value, as: UTF8.self)
  }
}
