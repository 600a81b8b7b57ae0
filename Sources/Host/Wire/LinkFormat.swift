/// A format that a link's packets can have, as it is offered (docs/LINK.md section 4): what a
/// backend declares as its `wire_format`, and its bound.
public struct LinkFormat: Hashable, Sendable {
  /// Bytes of payload that may be declared: four times the most pages that a packet has.
  public static let maxBound: UInt32 = 1 << 26
  /// The format of index 0, which every link has and nobody offers.
  public static let raw = "none/1"

  /// `NAME/N`: `lz4/1`.
  public let name: String
  /// The most payload bytes of a packet of the link's page size and capacity.
  public let bound: UInt32

  /// A format; nil when `name` is not of the form NAME/N or is `none/1`, or `bound` is not 1 to
  /// `maxBound`.
  public init?(_ name: String, bound: UInt32) {
    guard Self.isWireFormat(name.utf8), name != Self.raw, (1...Self.maxBound).contains(bound) else {
      return nil
    }
    self.name = name
    self.bound = bound
  }

  /// What the plug-in's ABI says of a wire format: `[a-z0-9][a-z0-9_-]{0,30}`, a slash, and a
  /// number from 1 to 9999 without leading zeros.
  static func isWireFormat(_ text: some Collection<UInt8>) -> Bool {
    let parts = text.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    guard parts.count == 2, let first = parts[0].first, parts[0].count <= 31,
      let digit = parts[1].first, parts[1].count <= 4
    else { return false }
    return isLowerOrDigit(first) && digit != UInt8(ascii: "0") && parts[1].allSatisfy(isDigit)
      && parts[0].allSatisfy {
        isLowerOrDigit($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
      }
  }

  private static func isDigit(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
  }

  private static func isLowerOrDigit(_ byte: UInt8) -> Bool {
    isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
  }

  /// Bytes of the entry in a list.
  var encodedSize: Int { 1 + name.utf8.count + 4 }

  /// The entry: a counted string, then the bound.
  func encode() -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(counted: name.utf8)
    bytes.append(bigEndian: bound)
    return bytes
  }

  /// The list that is `field`'s value: at most `LinkFormats.most` entries, none of them twice.
  static func list(_ field: LinkField) throws(WireError) -> [LinkFormat] {
    var formats: [LinkFormat] = []
    var rest = field.value[...]
    while let size = rest.first.map(Int.init) {
      let at = field.valueOffset + UInt64(rest.startIndex)
      guard formats.count < LinkFormats.most else {
        throw WireError(.limitExceeded, at: at, "more than \(LinkFormats.most) formats")
      }
      guard size + 5 <= rest.count else {
        throw WireError(.badLength, at: at, "a format goes beyond the field \(field.name)")
      }
      let text = rest.dropFirst().prefix(size)
      guard isWireFormat(text) else {
        throw WireError(.badName, at: at + 1, "a format's name is not of the form NAME/N")
      }
      // Exactly four bytes: the sizes were compared above.
      let bound = rest.dropFirst(1 + size).prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
      let name = String(decoding: text, as: UTF8.self)
      guard name != raw, !formats.contains(where: { $0.name == name }) else {
        let why = name == raw ? "index 0 in every link" : "there twice"
        throw WireError(.mismatch, at: at + 1, "the format \(name) is \(why)")
      }
      guard let format = LinkFormat(name, bound: bound) else {
        throw WireError(
          .limitExceeded, at: at + 1 + UInt64(size),
          "the format \(name) declares payloads of \(bound) bytes, 1 to \(maxBound) are allowed")
      }
      formats.append(format)
      rest = rest.dropFirst(format.encodedSize)
    }
    return formats
  }
}
