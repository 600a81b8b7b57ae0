/// What the connecting side of a link says first on every connection (docs/LINK.md section 3).
public struct LinkHello: Equatable, Sendable {
  /// What `decode` made of the bytes.
  public enum Step: Equatable, Sendable {
    /// Nothing yet: at least so many bytes beyond those given are needed.
    case needMore(atLeast: Int)
    /// A hello of `consumed` bytes. Nothing may follow before the answer.
    case hello(LinkHello, consumed: Int)
  }

  /// Bytes of its head, which says how long it is.
  public static let headSize = LinkFrame.headSize
  /// Bytes that a hello has at most.
  public static let maxSize = LinkFrame.headSize + LinkFrame.maxBody
  /// Bytes of pages that a packet has at most: what an answering side has to be ready to buffer.
  public static let maxPacket = 1 << 24
  /// The smallest page of any target.
  public static let minPage: UInt32 = 1024

  /// The connecting side's version.
  public let version: LinkVersion
  /// Random, and the same on all connections of one migration.
  public let session: VMUUID
  /// Which of them this one is.
  public let role: LinkRole
  /// Bytes of a page: a power of two.
  public let pageSize: UInt32
  /// Pages of a packet: QEMU's `P`, of which the size of a header follows.
  public let capacity: UInt32
  /// What packets may be encoded with, best first; of main only.
  public let formats: [LinkFormat]
  /// So many of `formats`, from the first, were asked for by name: without one of them there is no
  /// link.
  public let required: Int
  /// What packets of some of `formats` are encoded with besides, and the answering side needs; of
  /// main only.
  public let files: [LinkFile]
  /// What the pages of a reference are to be hashed with, of which the answering side may send one;
  /// of main only, and nil where none can be used.
  public let reference: PageHashKey?

  /// A hello that is to be sent, which keeps to the limits; nil when it does not.
  public init?(
    session: VMUUID, role: LinkRole, pageSize: UInt32, capacity: UInt32, formats: [LinkFormat] = [],
    required: Int = 0, files: [LinkFile] = [], reference: PageHashKey? = nil
  ) {
    guard Self.isPageSize(pageSize), Self.isCapacity(capacity, pageSize: pageSize),
      LinkFormats(formats) != nil, (0...formats.count).contains(required),
      files.allSatisfy({ $0.format <= formats.count }),
      Set(files.map { "\($0.format) \($0.option)" }).count == files.count
    else { return nil }
    switch role {
    case .main: break
    case .channel(let number):
      guard number <= LinkRole.lastChannel, formats.isEmpty, files.isEmpty, reference == nil
      else { return nil }
    }
    version = .current
    self.session = session
    self.role = role
    self.pageSize = pageSize
    self.capacity = capacity
    self.formats = formats
    self.required = required
    self.files = files
    self.reference = reference
  }

  private static func isPageSize(_ size: UInt32) -> Bool {
    size >= minPage && size <= UInt32(maxPacket) && size & (size - 1) == 0
  }

  private static func isCapacity(_ capacity: UInt32, pageSize: UInt32) -> Bool {
    capacity > 0 && UInt64(capacity) * UInt64(pageSize) <= UInt64(maxPacket)
  }

  /// The whole frame.
  public func encode() -> [UInt8] {
    var fields = [
      LinkField("session", session.bytes), LinkField("role", role.encode()),
      LinkField("page-size", Self.word(pageSize)), LinkField("capacity", Self.word(capacity)),
    ]
    if role == .main { fields.append(LinkField("formats", formats.flatMap { $0.encode() })) }
    if required > 0 { fields.append(LinkField("required", [UInt8(required)])) }
    if !files.isEmpty { fields.append(LinkField("files", files.flatMap { $0.encode() })) }
    if let reference {
      let value = [Self.referenceKind] + reference.bytes
      fields.append(LinkField("reference", isCritical: false, value))
    }
    return LinkFrame(kind: .hello, version: version, fields: fields).encode()
  }

  /// Of a reference: hashes of pages, by SipHash-2-4-128.
  static let referenceKind: UInt8 = 1

  private static func word(_ value: UInt32) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(bigEndian: value)
    return bytes
  }

  /// Decodes the hello that `bytes` begin with, at byte `offset` of the connection.
  ///
  /// All errors but `badMagic` are for an answer too: the other side is a link's, and prints it.
  public static func decode(
    _ bytes: UnsafeRawBufferPointer, at offset: UInt64 = 0
  ) throws(WireError) -> Step {
    switch try LinkFrame.decode(bytes, as: .hello, at: offset) {
    case .needMore(let count): return .needMore(atLeast: count)
    case .frame(let frame, let consumed):
      return .hello(try LinkHello(frame, at: offset), consumed: consumed)
    }
  }

  private init(_ frame: LinkFrame, at offset: UInt64) throws(WireError) {
    try frame.refuseUnknown(except: [
      "session", "role", "page-size", "capacity", "formats", "required", "files",
      "reference",
    ])
    version = frame.version
    // The field has 16 bytes, which is all that a UUID asks for.
    session = VMUUID(bytes: try frame.field("session", 16...16, at: offset).value) ?? .zero
    role = try LinkRole(decoding: frame.field("role", 1...65_535, at: offset))
    let page = try frame.field("page-size", 4...4, at: offset)
    pageSize = UInt32(page.number)
    guard Self.isPageSize(pageSize) else {
      throw WireError(
        .badLength, at: page.valueOffset,
        "pages of \(pageSize) bytes: expected a power of two, \(Self.minPage) to \(Self.maxPacket)")
    }
    let pages = try frame.field("capacity", 4...4, at: offset)
    capacity = UInt32(pages.number)
    guard Self.isCapacity(capacity, pageSize: pageSize) else {
      throw WireError(
        .limitExceeded, at: pages.valueOffset,
        "packets of \(capacity) pages of \(pageSize) bytes: expected 1 page to \(Self.maxPacket) bytes"
      )
    }
    (formats, required) = try Self.offer(in: frame, role, at: offset)
    if let field = frame["files"] {
      try field.check(1...65_535)
      files = try LinkFile.list(field, formats: formats.count)
    } else {
      files = []
    }
    reference = try Self.reference(in: frame)
  }

  /// The key. One of a kind that is not known is as none: nobody has to send a reference.
  private static func reference(in frame: LinkFrame) throws(WireError) -> PageHashKey? {
    guard let field = frame["reference"] else { return nil }
    try field.check(1...65_535)
    guard field.value[0] == referenceKind else { return nil }
    try field.check(1 + PageHashKey.size...1 + PageHashKey.size)
    return PageHashKey(field.value.dropFirst())
  }

  private static func offer(
    in frame: LinkFrame, _ role: LinkRole, at offset: UInt64
  ) throws(WireError) -> ([LinkFormat], Int) {
    guard role == .main else {
      let names = ["formats", "required", "files", "reference"]
      for field in frame.fields where names.contains(field.name) {
        throw WireError(.mismatch, at: field.start, "only main has the field \(field.name)")
      }
      return ([], 0)
    }
    let formats = try LinkFormat.list(frame.field("formats", 0...65_535, at: offset))
    guard let field = frame["required"] else { return (formats, 0) }
    try field.check(1...1)
    guard field.number <= UInt64(formats.count) else {
      throw WireError(
        .mismatch, at: field.valueOffset,
        "\(field.number) formats are required, \(formats.count) are offered")
    }
    return (formats, Int(field.number))
  }
}
