/// What the answering side of a link says to a hello (docs/LINK.md section 4). Before it nothing of
/// the guest is sent, and behind it there is nothing but the guest's stream.
public enum LinkAnswer: Equatable, Sendable {
  /// The connection is taken. The formats are main's, and none on a channel, which has main's; with
  /// `reference` that follows, hashed with the hello's key.
  case accepted(LinkFormats, reference: Bool = false)
  /// The connection is closed behind the answer.
  case refused(LinkRefusal)

  /// What `decode` made of the bytes.
  public enum Step: Equatable, Sendable {
    /// Nothing yet: at least so many bytes beyond those given are needed.
    case needMore(atLeast: Int)
    /// An answer of `consumed` bytes; on main the return path may follow.
    case answer(LinkAnswer, consumed: Int)
  }

  /// The answer to `hello` of one who has `formats`, in the order in which it wants them, each with
  /// the largest payload that it takes.
  ///
  /// What is offered and not had here is left out, unless it was asked for by name.
  public init(to hello: LinkHello, having formats: [LinkFormat]) {
    let agreed = formats.compactMap { ours in
      hello.formats.first { $0.name == ours.name && $0.bound <= ours.bound }
    }
    if let missing = hello.formats.prefix(hello.required).first(where: { !agreed.contains($0) }) {
      self = .refused(Self.refusal(of: missing, having: formats))
      return
    }
    guard let agreed = LinkFormats(agreed) else {
      preconditionFailure("a format is given once")
    }
    self = .accepted(agreed)
  }

  private static func refusal(of missing: LinkFormat, having formats: [LinkFormat]) -> LinkRefusal {
    if let ours = formats.first(where: { $0.name == missing.name }) {
      return LinkRefusal(
        "\(missing.name) with payloads of up to \(missing.bound) bytes was asked for, "
          + "the answering side takes up to \(ours.bound)")
    }
    let names = formats.isEmpty ? "none" : formats.map(\.name).joined(separator: ", ")
    return LinkRefusal("\(missing.name) was asked for, the answering side has \(names)")
  }

  /// The whole frame.
  public func encode() -> [UInt8] {
    var fields: [LinkField]
    switch self {
    case .accepted(let formats, let reference):
      fields = [LinkField("accepted", formats.agreed.flatMap { $0.encode() })]
      if reference { fields.append(LinkField("reference", [LinkHello.referenceKind])) }
    case .refused(let refusal): fields = [LinkField("refused", Array(refusal.text.utf8))]
    }
    return LinkFrame(kind: .answer, version: .current, fields: fields).encode()
  }

  /// Decodes the answer to `hello` that `bytes` begin with, at byte `offset` of the connection.
  ///
  /// - Parameter hello: what is accepted is compared with what was offered there; nil where that is
  ///   not known.
  public static func decode(
    _ bytes: UnsafeRawBufferPointer, to hello: LinkHello?, at offset: UInt64 = 0
  ) throws(WireError) -> Step {
    switch try LinkFrame.decode(bytes, as: .answer, at: offset) {
    case .needMore(let count): return .needMore(atLeast: count)
    case .frame(let frame, let consumed):
      return .answer(try LinkAnswer(frame, to: hello, at: offset), consumed: consumed)
    }
  }

  private init(_ frame: LinkFrame, to hello: LinkHello?, at offset: UInt64) throws(WireError) {
    try frame.refuseUnknown(except: ["accepted", "refused", "reference"])
    if let refused = frame["refused"] {
      guard frame["accepted"] == nil, frame["reference"] == nil else {
        throw WireError(.mismatch, at: refused.start, "the link's answer accepts and refuses")
      }
      self = .refused(try LinkRefusal(decoding: refused))
      return
    }
    let accepted = try frame.field("accepted", 0...65_535, at: offset)
    self = .accepted(
      try Self.formats(accepted, to: hello), reference: try Self.reference(frame, to: hello))
  }

  /// Whether a reference follows, which was asked for.
  private static func reference(
    _ frame: LinkFrame, to hello: LinkHello?
  ) throws(WireError) -> Bool {
    guard let field = frame["reference"] else { return false }
    try field.check(1...1)
    guard hello == nil || hello?.reference != nil, field.value[0] == LinkHello.referenceKind else {
      throw WireError(
        .mismatch, at: field.start,
        "the answering side has a reference of kind \(field.value[0]), which was not asked for")
    }
    return true
  }

  /// The list of `field`, each of which was offered, with all that was asked for by name.
  private static func formats(
    _ field: LinkField, to hello: LinkHello?
  ) throws(WireError) -> LinkFormats {
    let agreed = try LinkFormat.list(field)
    var at = field.valueOffset
    for format in hello == nil ? [] : agreed {
      guard hello?.formats.contains(format) == true else {
        throw WireError(
          .mismatch, at: at,
          "the answering side accepts \(format.name) with payloads of up to \(format.bound) bytes, which was not offered"
        )
      }
      at += UInt64(format.encodedSize)
    }
    if let hello,
      let missing = hello.formats.prefix(hello.required).first(where: { !agreed.contains($0) })
    {
      throw WireError(
        .mismatch, at: field.start,
        "the answering side accepts the link without \(missing.name), which was asked for")
    }
    guard let formats = LinkFormats(agreed) else {
      throw WireError(.mismatch, at: field.start, "a format is accepted twice")
    }
    return formats
  }
}
