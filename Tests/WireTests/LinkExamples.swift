import Testing
import Wire

/// The frames that docs/LINK.md shows, and the values that they are.
enum LinkExamples {
  static let session = VMUUID("00112233-4455-6677-8899-aabbccddeeff")!
  static let lz4 = LinkFormat("lz4/1", bound: 0x80818)!
  static let zstd = LinkFormat("zstd/1", bound: 0x80900)!

  static let main = LinkHello(
    session: session, role: .main, pageSize: 4096, capacity: 128, formats: [lz4, zstd],
    required: 1)!
  static let channel = LinkHello(
    session: session, role: .channel(1), pageSize: 4096, capacity: 128)!
  static let accepted = LinkAnswer.accepted(LinkFormats([zstd, lz4])!)
  static let refused = LinkAnswer.refused(LinkRefusal("busy"))

  /// The fields that every hello has, as hexadecimal text. `role` is 9 or 11 bytes long.
  static let sessionText = "07 01 0010 \"session\" 00112233445566778899aabbccddeeff"
  static let pageText = "09 01 0004 \"page-size\" 00001000"
  static let capacityText = "08 01 0004 \"capacity\" 00000080"
  static let formatsText =
    "07 01 0015 \"formats\" 05 \"lz4/1\" 00080818 06 \"zstd/1\" 00080900"
  static let mainText =
    "\"MFDLHELO\" 0001 0000 00000072" + sessionText + "04 01 0001 \"role\" 00" + pageText
    + capacityText + formatsText + "08 01 0001 \"required\" 01"
  static let channelText =
    "\"MFDLHELO\" 0001 0000 00000047" + sessionText + "04 01 0003 \"role\" 01 0001" + pageText
    + capacityText
  static let acceptedText =
    "\"MFDLANSW\" 0001 0000 00000021"
    + "08 01 0015 \"accepted\" 06 \"zstd/1\" 00080900 05 \"lz4/1\" 00080818"
  static let refusedText = "\"MFDLANSW\" 0001 0000 0000000f 07 01 0004 \"refused\" \"busy\""

  /// A frame: magic, version, and the length of what `fields` says.
  static func frame(
    _ magic: String, version: (UInt16, UInt16) = (1, 0), _ fields: [UInt8]
  ) -> [UInt8] {
    var frame = Array(magic.utf8)
    for value in [version.0, version.1] { frame += [UInt8(value >> 8), UInt8(value & 0xff)] }
    let count = UInt32(fields.count)
    frame += (0..<4).map { UInt8(truncatingIfNeeded: count >> (24 - 8 * $0)) }
    return frame + fields
  }

  /// A field.
  static func field(_ name: String, flags: UInt8 = 1, _ value: [UInt8]) -> [UInt8] {
    [UInt8(name.utf8.count), flags, UInt8(value.count >> 8), UInt8(value.count & 0xff)]
      + Array(name.utf8) + value
  }

  /// The fields of a valid hello of main, with others for some of them and more behind them; nil
  /// leaves one out.
  static func hello(
    _ changes: [String: [UInt8]?] = [:], version: (UInt16, UInt16) = (1, 0), more: [UInt8] = []
  ) -> [UInt8] {
    let fields: [(String, [UInt8])] = [
      ("session", session.bytes), ("role", [0]), ("page-size", [0, 0, 16, 0]),
      ("capacity", [0, 0, 0, 128]), ("formats", []),
    ]
    let body = fields.flatMap { name, value -> [UInt8] in
      guard let change = changes[name] else { return field(name, value) }
      return change.map { field(name, $0) } ?? []
    }
    return frame("MFDLHELO", version: version, body + more)
  }
}

/// A hello that begins at byte 100 of its connection.
func decodeHello(_ bytes: [UInt8]) throws -> LinkHello.Step {
  try bytes.withUnsafeBytes { try LinkHello.decode($0, at: 100) }
}

/// An answer to `LinkExamples.main` that begins at byte 100.
func decodeAnswer(_ bytes: [UInt8], to hello: LinkHello = LinkExamples.main) throws
  -> LinkAnswer.Step
{
  try bytes.withUnsafeBytes { try LinkAnswer.decode($0, to: hello, at: 100) }
}

/// What a decoder made of a frame's bytes.
enum LinkLook {
  /// So many bytes are missing.
  case missing(Int)
  /// A value was there, of so many bytes, and encoded again it is the same value.
  case whole(consumed: Int, isSteady: Bool)
}

extension LinkLook {
  /// At a hello, or at what should be one.
  static func hello(_ bytes: [UInt8]) throws -> LinkLook {
    switch try decodeHello(bytes) {
    case .needMore(let missing): return .missing(missing)
    case .hello(let hello, let consumed):
      let again = hello.encode()
      let isSteady = try decodeHello(again) == .hello(hello, consumed: again.count)
      return .whole(consumed: consumed, isSteady: isSteady)
    }
  }

  /// At an answer, or at what should be one.
  static func answer(_ bytes: [UInt8]) throws -> LinkLook {
    switch try decodeAnswer(bytes) {
    case .needMore(let missing): return .missing(missing)
    case .answer(let answer, let consumed):
      let again = answer.encode()
      let isSteady = try decodeAnswer(again) == .answer(answer, consumed: again.count)
      return .whole(consumed: consumed, isSteady: isSteady)
    }
  }
}

/// Of every beginning of a frame so much is missing as there is: first of the head, then of the
/// rest.
func expectMissing(of whole: [UInt8], _ look: ([UInt8]) throws -> LinkLook) throws {
  for count in 0..<whole.count {
    guard case .missing(let missing) = try look(Array(whole[..<count])) else {
      Issue.record("decoded from \(count) bytes")
      continue
    }
    #expect(missing == (count < 16 ? 16 : whole.count) - count)
  }
}

/// Every change of a byte gives an error inside the frame, or a value that encodes to itself.
func expectSteady(_ whole: [UInt8], _ look: ([UInt8]) throws -> LinkLook) throws {
  for at in whole.indices {
    for change in UInt8(1)...255 {
      var changed = whole
      changed[at] ^= change
      do {
        switch try look(changed) {
        case .missing(let count):
          // Only a greater length has one wait, and never for more than a whole frame.
          #expect((12..<16).contains(at) && changed.count + count <= LinkHello.maxSize)
        case .whole(let consumed, let isSteady):
          #expect(consumed <= changed.count && isSteady)
        }
      } catch let error as WireError {
        #expect((100..<100 + UInt64(whole.count)).contains(error.offset), "\(at): \(error)")
      }
    }
  }
}
