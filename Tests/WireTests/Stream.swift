import Testing
import Wire

/// Bytes written as hexadecimal digits and `"text"`, as SPECIFICATION shows them.
func bytes(_ text: String) -> [UInt8] {
  var bytes: [UInt8] = []
  for (index, part) in text.split(separator: "\"", omittingEmptySubsequences: false).enumerated() {
    guard index % 2 == 0 else {
      bytes += Array(part.utf8)
      continue
    }
    let digits = part.filter { !$0.isWhitespace }.map { $0.hexDigitValue! }
    precondition(digits.count % 2 == 0, "two digits a byte: \(part)")
    for pair in stride(from: 0, to: digits.count, by: 2) {
      bytes.append(UInt8(digits[pair] << 4 | digits[pair + 1]))
    }
  }
  return bytes
}

/// A stream that is written element by element and then decoded.
struct Stream {
  var encoder = StreamEncoder()
  var limits = StreamDecoder.Limits()

  static let blocks = [
    RAMBlockDescription(name: "pc.ram", usedLength: 0x8000),
    RAMBlockDescription(name: "pc.bios", usedLength: 0x2000),
  ]

  /// File header and configuration.
  init(_ configuration: Configuration = Configuration(machine: "pc-q35-10.0")) {
    encoder.fileHeader()
    encoder.configuration(configuration)
  }

  /// The same, and a whole START of `ram`, id 1.
  static func started(_ blocks: [RAMBlockDescription] = Stream.blocks) -> Stream {
    var stream = Stream()
    stream.begin(.start)
    stream.encoder.ramBlocks(blocks)
    stream.end()
    return stream
  }

  /// The same, and an END of `ram` without pages.
  static func ended() -> Stream {
    var stream = started()
    stream.begin(.end)
    stream.end()
    return stream
  }

  /// The same, and EOF with an empty VM description.
  static func complete() -> Stream {
    var stream = ended()
    stream.encoder.eof()
    stream.encoder.vmDescription("{}".utf8)
    return stream
  }

  mutating func begin(_ kind: SectionKind, version: UInt32 = 4, instance: UInt32 = 0) {
    encoder.beginSection(kind, id: 1, name: "ram", instance: instance, version: version)
  }

  mutating func end() {
    encoder.endOfRAMSection()
    encoder.footer(id: 1)
  }

  /// An opaque section, whole.
  mutating func section(
    _ kind: SectionKind = .full, id: UInt32, _ name: String = "", body: [UInt8]
  ) {
    encoder.beginSection(kind, id: id, name: name, instance: 0, version: 1)
    encoder.raw(body)
    encoder.footer(id: id)
  }

  /// Adds hexadecimal bytes; returns where they begin.
  @discardableResult
  mutating func raw(_ text: String) -> UInt64 {
    defer { encoder.raw(bytes(text)) }
    return UInt64(encoder.bytes.count)
  }

  /// Decodes all of it, pages included, and how it ends.
  func decode() throws -> (elements: [StreamDecoder.Element], StreamDecoder.Completion) {
    var decoder = StreamDecoder(limits: limits)
    var elements: [StreamDecoder.Element] = []
    let completion = try encoder.bytes.withUnsafeBytes { all in
      var start = 0
      func rest() -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: all[start...]) }
      while case .element(let element, let consumed) = try decoder.next(rest()) {
        elements.append(element)
        start += consumed
        let raw = min(Int(decoder.rawBytesDue), all.count - start)
        decoder.didTake(raw)
        start += raw
        guard decoder.rawBytesDue == 0 else { break }
      }
      return try decoder.finish(remaining: rest())
    }
    return (elements, completion)
  }

  /// Expects that decoding fails with `code` at stream offset `offset`, in words that contain
  /// `text`.
  func expect(
    _ code: WireError.Code, at offset: UInt64, _ text: String = "",
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let error = #expect(throws: WireError.self, sourceLocation: sourceLocation) { try decode() }
    #expect(error?.code == code, "\(error.debugDescription)", sourceLocation: sourceLocation)
    #expect(error?.offset == offset, "\(error.debugDescription)", sourceLocation: sourceLocation)
    #expect(
      text.isEmpty || error?.message.contains(text) == true, "\(error.debugDescription)",
      sourceLocation: sourceLocation)
  }
}
