/// The keys of a `keys.psk`, as psktool writes it: a line each, `NAME:KEY`, the key in hexadecimal.
struct PreSharedKeys: Sendable {
  private var keys: [String: [UInt8]] = [:]

  /// - Parameter place: the file's name, for messages.
  init(parsing bytes: [UInt8], of place: String) throws(TLSError) {
    for (index, line) in bytes.split(separator: UInt8(ascii: "\n")).enumerated() {
      var line = line
      if line.last == UInt8(ascii: "\r") { line = line.dropLast() }
      guard let colon = line.lastIndex(of: UInt8(ascii: ":")), colon > line.startIndex,
        let name = String(validating: line[..<colon], as: UTF8.self),
        let key = Self.bytes(line[line.index(after: colon)...])
      else {
        // Without a word of what is in it.
        throw TLSError(
          .credentials, "\(place): line \(index + 1) is no NAME:KEY with a key in hexadecimal",
          hint: "psktool -u NAME -p \(place) makes one")
      }
      keys[name] = key
    }
    guard !keys.isEmpty else { throw TLSError(.credentials, "\(place) has no key") }
  }

  subscript(name: String) -> [UInt8]? { keys[name] }

  private static func bytes(_ text: ArraySlice<UInt8>) -> [UInt8]? {
    guard !text.isEmpty, text.count % 2 == 0 else { return nil }
    let digits = text.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
    guard digits.count == text.count else { return nil }
    return stride(from: 0, to: digits.count, by: 2).map {
      UInt8(digits[$0] << 4 | digits[$0 + 1])
    }
  }
}
