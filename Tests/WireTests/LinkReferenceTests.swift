import Testing
import Wire

@Suite("The link's reference")
struct LinkReferenceTests {
  static let key = PageHashKey(Array(UInt8(0)..<16))!
  static let blocks = [
    RAMBlockDescription(name: "pc.ram", usedLength: 5 << 12),
    RAMBlockDescription(name: "pc.bios", usedLength: 1 << 12),
  ]
  static let hashes = (UInt64(1)...3).map { PageHash(first: $0, second: $0 << 56) }
  static let text =
    "\"MFDLREFR\" 00000002 06 \"pc.ram\" 0000000000005000 07 \"pc.bios\" 0000000000001000"
    + "00000002 0100000000000000 0000000000000001 0200000000000000 0000000000000002"
    + "80000003" + "00000001 0300000000000000 0000000000000003"

  static func encode() -> [UInt8] {
    var encoder = LinkReferenceEncoder(blocks)
    encoder.pages(Array(hashes[..<2]))
    encoder.zero(pages: 3)
    encoder.zero(pages: 0)
    encoder.pages([])
    encoder.pages([hashes[2]])
    return encoder.bytes
  }

  /// What a decoder makes of bytes that arrive in pieces.
  private struct Read: Equatable {
    var blocks: [RAMBlockDescription] = []
    /// By block and page; nil: zero.
    var pages: [[PageHash?]] = []
    var rest = 0
  }

  private static func read(
    _ all: [UInt8], piece: Int = .max, limits: StreamDecoder.Limits = StreamDecoder.Limits()
  ) throws -> Read? {
    var decoder = LinkReferenceDecoder(limits: limits, at: 100)
    var read = Read()
    var (start, end) = (0, min(piece, all.count))
    while true {
      let step = try all[start..<end].withUnsafeBytes { bytes throws(WireError) in
        try decoder.next(bytes)
      }
      switch step {
      case .end:
        read.rest = all.count - start
        return read
      case .needMore(let missing):
        #expect(missing > 0)
        guard end < all.count else { return nil }
        end = min(all.count, end + piece)
      case .element(let element, let consumed):
        #expect(consumed > 0 && consumed <= end - start)
        switch element {
        case .blocks(let list):
          read.blocks = list
          read.pages = list.map { _ in [] }
        case .zero(let block, let pages):
          #expect(pages.lowerBound == read.pages[block].count)
          read.pages[block] += pages.map { _ in nil }
        case .hashes(let block, let pages):
          #expect(pages.lowerBound == read.pages[block].count)
          let first = start + consumed - pages.count * PageHash.size
          read.pages[block] += all.withUnsafeBytes { bytes in
            (0..<pages.count).map { PageHash(bytes, at: first + $0 * PageHash.size) }
          }
        }
        start += consumed
        #expect(decoder.position == 100 + UInt64(start))
      }
    }
  }

  @Test("The bytes that docs/LINK.md shows, in pieces of any size, with the return path behind")
  func document() throws {
    let whole = bytes(Self.text)
    #expect(Self.encode() == whole)
    let expected = Read(
      blocks: Self.blocks,
      pages: [[Self.hashes[0], Self.hashes[1], nil, nil, nil], [Self.hashes[2]]])
    for piece in [1, 2, 3, 15, 16, 17, 20, 36, .max] {
      #expect(try Self.read(whole, piece: piece) == expected)
    }
    var behind = expected
    behind.rest = 2
    #expect(try Self.read(whole + [0, 2]) == behind)
  }

  @Test("Of every beginning more is wanted, and no more than there is")
  func truncations() throws {
    let whole = bytes(Self.text)
    for count in 0..<whole.count { #expect(try Self.read(Array(whole[..<count])) == nil) }
  }

  @Test(
    "What is no reference is refused where it is",
    arguments: [
      ("\"MFDLREFX\"", .badMagic, 0, "no reference"), ("00 01 00 04", .badMagic, 0, "no reference"),
      ("\"MFDLREFR\" 00000000", .limitExceeded, 8, "of 0 RAM blocks"),
      ("\"MFDLREFR\" 00000401", .limitExceeded, 8, "of 1025 RAM blocks"),
      ("\"MFDLREFR\" ffffffff", .limitExceeded, 8, "of 4294967295 RAM blocks"),
      ("\"MFDLREFR\" 00000001 00", .badLength, 12, "is empty"),
      ("\"MFDLREFR\" 00000001 01 0a", .badName, 13, "unprintable"),
      ("\"MFDLREFR\" 00000001 01 \"a\" 0000000000000000", .badLength, 12, "of 0 bytes"),
      ("\"MFDLREFR\" 00000001 01 \"a\" 0000000000001001", .badLength, 12, "no pages"),
      ("\"MFDLREFR\" 00000001 01 \"a\" 0000000100001000", .limitExceeded, 12, "bytes of RAM"),
      ("\"MFDLREFR\" 00000001 01 \"a\" fffffffffffff000", .limitExceeded, 12, "bytes of RAM"),
      (
        "\"MFDLREFR\" 00000002 01 \"a\" 0000000000001000 01 \"a\" 0000000000001000", .mismatch, 22,
        "twice"
      ),
      (
        "\"MFDLREFR\" 00000002 01 \"a\" 0000000080000000 01 \"b\" 0000000080001000",
        .limitExceeded, 22, "bytes of RAM"
      ),
      ("\"MFDLREFR\" 00000001 01 \"a\" 0000000000001000 00000000", .badLength, 22, "a run of 0"),
      ("\"MFDLREFR\" 00000001 01 \"a\" 0000000000001000 80000000", .badLength, 22, "a run of 0"),
      ("\"MFDLREFR\" 00000001 01 \"a\" 0000000000001000 00000002", .badLength, 22, "has 1 left"),
      ("\"MFDLREFR\" 00000001 01 \"a\" 0000000000001000 ffffffff", .badLength, 22, "has 1 left"),
      (
        "\"MFDLREFR\" 00000001 01 \"a\" 0000000000003000 80000002 80000002", .badLength, 26,
        "has 1 left"
      ),
    ] as [(String, WireError.Code, UInt64, String)])
  func refused(text: String, code: WireError.Code, offset: UInt64, words: String) throws {
    var limits = StreamDecoder.Limits()
    limits.maxRAM = 1 << 32
    for piece in [1, Int.max] {
      let error = try #require(throws: WireError.self) {
        try Self.read(bytes(text), piece: piece, limits: limits)
      }
      #expect(error.code == code && error.offset == 100 + offset, "\(error)")
      #expect(error.message.contains(words), "\(error)")
      if words == "bytes of RAM" { #expect(error.limit == .ram) }
    }
  }

  @Test("A hello offers a key, and says so again")
  func hello() throws {
    let hello = try #require(
      LinkHello(
        session: LinkExamples.session, role: .main, pageSize: 4096, capacity: 128,
        reference: Self.key))
    let whole = hello.encode()
    let field = bytes("09 00 0011 \"reference\" 01 000102030405060708090a0b0c0d0e0f")
    #expect(Array(whole.suffix(field.count)) == field)
    #expect(try decodeHello(whole) == .hello(hello, consumed: whole.count))
    try expectMissing(of: whole, LinkLook.hello)
    try expectSteady(whole, LinkLook.hello)
    // Only main has one.
    #expect(
      LinkHello(
        session: LinkExamples.session, role: .channel(0), pageSize: 4096, capacity: 128,
        reference: Self.key) == nil)
    let channel = LinkExamples.hello(
      ["role": [1, 0, 0], "formats": nil], more: LinkExamples.field("reference", [1]))
    #expect(throws: WireError.self) { try decodeHello(channel) }
  }

  @Test("A key of another kind is none, and one that is too short is refused")
  func kinds() throws {
    func hello(_ value: [UInt8]) throws -> LinkHello {
      let whole = LinkExamples.hello(more: LinkExamples.field("reference", flags: 0, value))
      guard case .hello(let hello, _) = try decodeHello(whole) else { throw CancellationError() }
      return hello
    }
    #expect(try hello([1] + Self.key.bytes).reference == Self.key)
    #expect(try hello([2] + Self.key.bytes).reference == nil)
    #expect(try hello([2]).reference == nil)
    let wrong: [[UInt8]] = [
      [], [1], [1] + Self.key.bytes.dropLast(), [1] + Self.key.bytes + [0],
    ]
    for value in wrong {
      #expect(throws: WireError.self) { try hello(value) }
    }
  }

  @Test("An answer tells of a reference only where one was asked for")
  func answer() throws {
    let hello = try #require(
      LinkHello(
        session: LinkExamples.session, role: .main, pageSize: 4096, capacity: 128,
        reference: Self.key))
    let answer = LinkAnswer.accepted(.rawOnly, reference: true)
    let whole = answer.encode()
    #expect(
      whole
        == bytes(
          "\"MFDLANSW\" 0001 0000 0000001a 08 01 0000 \"accepted\" 09 01 0001 \"reference\" 01"))
    #expect(
      try decodeAnswer(whole + Array("MFDLREFR".utf8), to: hello)
        == .answer(answer, consumed: whole.count))
    try expectMissing(of: whole) { bytes in
      switch try decodeAnswer(bytes, to: hello) {
      case .needMore(let missing): .missing(missing)
      case .answer(_, let consumed): .whole(consumed: consumed, isSteady: true)
      }
    }
    // Nobody asked, or for another kind.
    #expect(throws: WireError.self) { try decodeAnswer(whole, to: LinkExamples.channel) }
    #expect(throws: WireError.self) { try decodeAnswer(whole.dropLast() + [2], to: hello) }
    let refused = LinkExamples.frame(
      "MFDLANSW",
      LinkExamples.field("refused", [0x61]) + LinkExamples.field("reference", [1]))
    #expect(throws: WireError.self) { try decodeAnswer(refused, to: hello) }
  }
}
