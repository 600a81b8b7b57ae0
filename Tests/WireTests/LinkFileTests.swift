import Testing
import Wire

/// What a hello says of the files that its formats are encoded with (docs/LINK.md section 3.1).
@Suite("The link's files")
struct LinkFileTests {
  private static let digest = (0..<32).map { UInt8($0) }
  private static let digestText =
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

  private static func hello(_ files: [LinkFile]) -> LinkHello? {
    LinkHello(
      session: LinkExamples.session, role: .main, pageSize: 4096, capacity: 128,
      formats: [LinkExamples.lz4, LinkExamples.zstd], required: 1, files: files)
  }

  @Test("A hello names files by what is in them")
  func encoded() throws {
    let file = try #require(
      LinkFile(format: 1, option: "dictionary", size: 0x1c000, digest: Self.digest))
    let hello = try #require(Self.hello([file]))
    let whole = hello.encode()
    let field = bytes(
      "05 01 0030 \"files\" 01 0a \"dictionary\" 0001c000 " + Self.digestText)
    #expect(Array(whole.suffix(field.count)) == field)
    #expect(try decodeHello(whole) == .hello(hello, consumed: whole.count))
    try expectMissing(of: whole, LinkLook.hello)
    try expectSteady(whole, LinkLook.hello)
  }

  @Test("A file that cannot be is none, and so is a hello with it")
  func unmakeable() throws {
    func file(
      _ format: Int = 1, _ option: String = "key", _ size: Int = 1, _ digest: [UInt8] = Self.digest
    ) -> LinkFile? { LinkFile(format: format, option: option, size: size, digest: digest) }
    #expect(file() != nil && file(31) != nil && file(1, "k", 16_777_216) != nil)
    for format in [0, 32, -1] { #expect(file(format) == nil) }
    for option in ["", "Key", "1k", "-k", "k_", String(repeating: "k", count: 32)] {
      #expect(file(1, option) == nil, "\(option)")
    }
    for size in [0, -1, 16_777_217] { #expect(file(1, "key", size) == nil) }
    #expect(file(1, "key", 1, []) == nil && file(1, "key", 1, Self.digest + [0]) == nil)
    // Of a format that is not offered, or twice.
    let (one, three) = (try #require(file()), try #require(file(3)))
    #expect(Self.hello([one]) != nil && Self.hello([three]) == nil)
    #expect(Self.hello([one, one]) == nil)
    #expect(
      LinkHello(
        session: .zero, role: .channel(1), pageSize: 4096, capacity: 128, files: [one]) == nil)
  }

  /// Entries that break a rule, and the byte of the field's value that is told.
  static let wrong: [(String, [UInt8], WireError.Code)] = [
    ("nothing", [], .badLength),
    ("half a head", [1], .badLength),
    ("no digest", [1, 3] + Array("key".utf8) + [0, 0, 0, 1], .badLength),
    ("half a digest", [1, 3] + Array("key".utf8) + [0, 0, 0, 1] + digest.dropLast(), .badLength),
    ("more than an entry", [1, 3] + Array("key".utf8) + [0, 0, 0, 1] + digest + [1], .badLength),
    ("no format", [0, 3] + Array("key".utf8) + [0, 0, 0, 1] + digest, .mismatch),
    ("a format too many", [3, 3] + Array("key".utf8) + [0, 0, 0, 1] + digest, .mismatch),
    ("no option", [1, 0] + [0, 0, 0, 1] + digest, .badName),
    ("a capital", [1, 3] + Array("Key".utf8) + [0, 0, 0, 1] + digest, .badName),
    ("no bytes", [1, 3] + Array("key".utf8) + [0, 0, 0, 0] + digest, .limitExceeded),
    ("too many bytes", [1, 3] + Array("key".utf8) + [1, 0, 0, 1] + digest, .limitExceeded),
    (
      "one option twice",
      ([1, 3] + Array("key".utf8) + [0, 0, 0, 1] + digest)
        + ([1, 3] + Array("key".utf8) + [0, 0, 0, 2] + digest), .mismatch
    ),
  ]

  @Test("What breaks a rule is refused where it is", arguments: wrong.map(\.0))
  func refused(name: String) throws {
    let (_, value, code) = try #require(Self.wrong.first { $0.0 == name })
    let formats =
      LinkExamples.field("formats", bytes("05 \"lz4/1\" 00080818 06 \"zstd/1\" 00080900"))
      .dropFirst(4 + 7)
    let whole = LinkExamples.hello(
      ["formats": Array(formats)], more: LinkExamples.field("files", value))
    let error = #expect(throws: WireError.self) { try decodeHello(whole) }
    #expect(error?.code == code, "\(String(describing: error))")
    #expect((error?.offset ?? 0) >= UInt64(whole.count - value.count - 9))
  }

  @Test("Only main has files")
  func channel() {
    let whole = LinkExamples.hello(
      ["role": [1, 0, 0], "formats": nil], more: LinkExamples.field("files", [1]))
    #expect(throws: WireError.self) { try decodeHello(whole) }
  }
}
