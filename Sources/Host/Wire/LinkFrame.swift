// The link: hello and answer, which two hosts of ours exchange on every connection before a byte of
// the guest (docs/LINK.md). Behind them the connection is QEMU's own stream.
//
//   LinkVersion                 who speaks what
//   LinkFrame, LinkField        the form of both: a head that no version changes, named fields
//   LinkHello, LinkRole         what the connecting side says
//   LinkAnswer, LinkRefusal     what the answering side says
//   LinkFormat, LinkFormats     the formats that are offered, and their indices once agreed
//   LinkReferenceEncoder, LinkReferenceDecoder, PageHash
//                               what the answering side holds of the guest already

/// A hello or an answer as it is on the wire (docs/LINK.md section 2): its version and its fields,
/// of which each has a name that no other has.
struct LinkFrame {
  /// Which of the two a frame is, by its magic.
  enum Kind {
    case hello
    case answer

    /// The first eight bytes.
    var magic: [UInt8] {
      switch self {
      case .hello: Array("MFDLHELO".utf8)
      case .answer: Array("MFDLANSW".utf8)
      }
    }

    /// For messages.
    var name: String { self == .hello ? "hello" : "answer" }
  }

  /// What `decode` made of the bytes.
  enum Step {
    case needMore(atLeast: Int)
    case frame(LinkFrame, consumed: Int)
  }

  /// Magic, version, length: the same in every version.
  static let headSize = 16
  /// Bytes that a body has at most.
  static let maxBody = 65_536
  /// Fields that a body has at most.
  static let maxFields = 64

  var kind: Kind
  var version: LinkVersion
  var fields: [LinkField]

  /// Decodes the frame that `bytes` begin with, at byte `offset` of the connection.
  ///
  /// Magic, version and length are refused as soon as they are here, so a peer can make nobody wait
  /// for more than `headSize + maxBody` bytes. Nothing is allocated before all of them have come.
  static func decode(
    _ bytes: UnsafeRawBufferPointer, as kind: Kind, at offset: UInt64
  ) throws(WireError) -> Step {
    try check(magic: bytes, of: kind, at: offset)
    if bytes.count >= 12 { try check(LinkVersion(bytes.u16(8), bytes.u16(10)), of: kind, offset) }
    guard bytes.count >= headSize else { return .needMore(atLeast: headSize - bytes.count) }
    guard bytes.u32(12) <= UInt32(maxBody) else {
      throw WireError(
        .limitExceeded, at: offset + 12,
        "the link's \(kind.name) announces a body of \(bytes.u32(12)) bytes, at most \(maxBody) are allowed"
      )
    }
    let size = headSize + Int(bytes.u32(12))
    guard bytes.count >= size else { return .needMore(atLeast: size - bytes.count) }
    let fields = try fields(in: bytes.part(0..<size), of: kind, at: offset)
    let version = LinkVersion(bytes.u16(8), bytes.u16(10))
    return .frame(LinkFrame(kind: kind, version: version, fields: fields), consumed: size)
  }

  /// The whole frame. The values here keep to the limits by construction.
  func encode() -> [UInt8] {
    let body = fields.flatMap { $0.encode() }
    precondition(body.count <= Self.maxBody, "a body has at most \(Self.maxBody) bytes")
    var bytes = kind.magic
    bytes.append(bigEndian: version.major)
    bytes.append(bigEndian: version.minor)
    bytes.append(bigEndian: UInt32(body.count))
    return bytes + body
  }

  /// Compares as much of the magic as is here.
  private static func check(
    magic bytes: UnsafeRawBufferPointer, of kind: Kind, at offset: UInt64
  ) throws(WireError) {
    let found = Array(bytes.prefix(8))
    guard !kind.magic.starts(with: found) else { return }
    let what =
      switch found.prefix(4) {
      case [0x51, 0x45, 0x56, 0x4d]: "the file header of a QEMU, which speaks no link"
      case [0x11, 0x22, 0x33, 0x44]: "a multifd packet of a QEMU, which speaks no link"
      case _ where Kind.hello.magic == found: "a hello: both sides are the connecting one"
      case _ where Kind.answer.magic == found: "an answer: both sides are the answering one"
      default: "bytes" + found.map { " " + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
      }
    throw WireError(.badMagic, at: offset, "expected the link's \(kind.name), found \(what)")
  }

  /// A hello comes from the connecting side, an answer from the other. The message names the sides
  /// and not this one, for it is read on both.
  private static func check(
    _ version: LinkVersion, of kind: Kind, _ offset: UInt64
  ) throws(WireError) {
    let ours = LinkVersion.current
    guard version.major != ours.major else { return }
    let (connecting, answering) = kind == .hello ? (version, ours) : (ours, version)
    throw WireError(
      .badVersion, at: offset + 8,
      "the connecting side speaks link version \(connecting), the answering side \(answering)")
  }

  private static func fields(
    in frame: UnsafeRawBufferPointer, of kind: Kind, at offset: UInt64
  ) throws(WireError) -> [LinkField] {
    var cursor = Cursor(frame, from: headSize)
    var fields: [LinkField] = []
    while cursor.offset < frame.count {
      let start = offset + UInt64(cursor.offset)
      guard fields.count < maxFields else {
        throw WireError(
          .limitExceeded, at: start, "the link's \(kind.name) has more than \(maxFields) fields")
      }
      let field = try LinkField(from: &cursor, at: offset)
      guard !fields.contains(where: { $0.name == field.name }) else {
        throw WireError(.mismatch, at: start, "the field \(field.name) is there twice")
      }
      fields.append(field)
    }
    return fields
  }
}

// MARK: - Reading fields

extension LinkFrame {
  /// The field called `name`, if it is there.
  subscript(name: String) -> LinkField? { fields.first { $0.name == name } }

  /// Refuses critical fields other than `names`. Others that are unknown are passed over.
  func refuseUnknown(except names: [String]) throws(WireError) {
    for field in fields where field.isCritical && !names.contains(field.name) {
      throw WireError(
        .unsupported, at: field.start,
        "the field \(field.name) of link version \(version) is critical, and unknown to \(LinkVersion.current)"
      )
    }
  }

  /// The field called `name`, with a value of `sizes` bytes. `offset` is the frame's first byte.
  func field(
    _ name: String, _ sizes: ClosedRange<Int>, at offset: UInt64
  ) throws(WireError) -> LinkField {
    guard let field = self[name] else {
      throw WireError(.mismatch, at: offset + 12, "the link's \(kind.name) has no field \(name)")
    }
    try field.check(sizes)
    return field
  }
}
