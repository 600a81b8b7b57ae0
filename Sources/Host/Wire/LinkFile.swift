/// A file that packets of a format are encoded with, and that the answering side needs too
/// (docs/LINK.md section 3.1): told by what is in it.
public struct LinkFile: Hashable, Sendable {
  /// The largest one: what an option of the plug-in's ABI can be.
  public static let maxSize: UInt32 = 16_777_216
  /// Bytes of a SHA-256.
  public static let digestSize = 32

  /// Which format's, counted from 1 in the hello's list.
  public let format: Int
  /// The option of the format's backend: `[a-z][a-z0-9-]{0,30}`.
  public let option: String
  /// Bytes of the file, not 0.
  public let size: UInt32
  /// The SHA-256 of its bytes.
  public let digest: [UInt8]

  /// A file of a hello; nil when it does not keep to the limits.
  public init?(format: Int, option: String, size: Int, digest: [UInt8]) {
    guard (1...LinkFormats.most).contains(format), Self.isOption(option.utf8),
      let size = UInt32(exactly: size), (1...Self.maxSize).contains(size),
      digest.count == Self.digestSize
    else { return nil }
    (self.format, self.option, self.size, self.digest) = (format, option, size, digest)
  }

  private static func isOption(_ text: some Collection<UInt8>) -> Bool {
    guard let first = text.first, (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first),
      text.count <= 31
    else { return false }
    return text.allSatisfy {
      (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
        || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "-")
    }
  }

  /// Its entry in the list.
  func encode() -> [UInt8] {
    var bytes = [UInt8(format)]
    bytes.append(counted: option.utf8)
    bytes.append(bigEndian: size)
    return bytes + digest
  }

  /// The list that is `field`'s value, of a hello with so many formats: no option of a format twice.
  static func list(_ field: LinkField, formats: Int) throws(WireError) -> [LinkFile] {
    var files: [LinkFile] = []
    var rest = field.value[...]
    while let format = rest.first {
      let at = field.valueOffset + UInt64(rest.startIndex)
      guard (1...max(1, formats)).contains(Int(format)), formats > 0 else {
        throw WireError(.mismatch, at: at, "a file of format \(format), \(formats) are offered")
      }
      let length = rest.dropFirst().first.map(Int.init) ?? 0
      guard rest.count >= 2 + length + 4 + digestSize else {
        throw WireError(.badLength, at: at, "a file goes beyond the field \(field.name)")
      }
      let text = rest.dropFirst(2).prefix(length)
      guard isOption(text) else {
        throw WireError(.badName, at: at + 2, "a file's option is not of the form [a-z][a-z0-9-]*")
      }
      let numbers = rest.dropFirst(2 + length)
      // As many bytes are there as was compared above.
      let size = numbers.prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
      guard
        let file = LinkFile(
          format: Int(format), option: String(decoding: text, as: UTF8.self), size: Int(size),
          digest: Array(numbers.dropFirst(4).prefix(digestSize)))
      else {
        throw WireError(
          .limitExceeded, at: at + 2 + UInt64(length),
          "a file of \(size) bytes, 1 to \(maxSize) are allowed")
      }
      guard !files.contains(where: { $0.format == file.format && $0.option == file.option }) else {
        throw WireError(.mismatch, at: at, "two files for the option \(file.option)")
      }
      files.append(file)
      rest = rest.dropFirst(2 + length + 4 + digestSize)
    }
    return files
  }
}
