import Testing
import Wire

@Suite("The link's hello")
struct LinkHelloTests {
  private typealias Examples = LinkExamples

  static let hellos: [(String, LinkHello)] = [
    (Examples.mainText, Examples.main), (Examples.channelText, Examples.channel),
  ]

  @Test("The bytes that docs/LINK.md shows", arguments: hellos)
  func document(text: String, hello: LinkHello) throws {
    let whole = bytes(text)
    #expect(hello.encode() == whole)
    #expect(try decodeHello(whole) == .hello(hello, consumed: whole.count))
    // What follows is not looked at.
    #expect(try decodeHello(whole + [0xff]) == .hello(hello, consumed: whole.count))
    #expect(hello.version == .current)
  }

  @Test("A hello that keeps to the limits encodes and decodes")
  func roundTrips() throws {
    let longest = String(repeating: "f", count: 31)
    let most = (1...31).compactMap { number in
      LinkFormat("\(longest)/\(9000 + number)", bound: UInt32(number))
    }
    #expect(most.count == 31)
    let hellos = [
      LinkHello(session: .zero, role: .main, pageSize: 1024, capacity: 1),
      LinkHello(session: Examples.session, role: .channel(0), pageSize: 65_536, capacity: 256),
      LinkHello(session: Examples.session, role: .channel(254), pageSize: 1 << 24, capacity: 1),
      LinkHello(
        session: Examples.session, role: .main, pageSize: 4096, capacity: 4096, formats: most,
        required: 31),
    ]
    for hello in hellos {
      let hello = try #require(hello)
      let encoded = hello.encode()
      #expect(encoded.count <= LinkHello.maxSize)
      #expect(try decodeHello(encoded) == .hello(hello, consumed: encoded.count))
    }
  }

  @Test("A hello beyond the limits is none")
  func unmakeable() {
    func hello(
      _ role: LinkRole = .main, page: UInt32 = 4096, capacity: UInt32 = 128,
      formats: [LinkFormat] = [], required: Int = 0
    ) -> LinkHello? {
      LinkHello(
        session: .zero, role: role, pageSize: page, capacity: capacity, formats: formats,
        required: required)
    }
    #expect(hello() != nil)
    #expect(hello(.channel(255)) == nil)
    for page: UInt32 in [0, 1, 512, 4097, 3 << 12, 1 << 25, 1 << 31, .max] {
      #expect(hello(page: page, capacity: 1) == nil, "\(page)")
    }
    for capacity: UInt32 in [0, 4097, .max] { #expect(hello(capacity: capacity) == nil) }
    #expect(hello(formats: [Examples.lz4, Examples.lz4]) == nil)
    #expect(hello(formats: [Examples.lz4], required: 2) == nil)
    #expect(hello(formats: [Examples.lz4], required: -1) == nil)
    #expect(hello(.channel(1), formats: [Examples.lz4]) == nil)
    #expect(hello(.channel(1), required: 1) == nil)
    let many = (1...32).compactMap { LinkFormat("f/\($0)", bound: 1) }
    #expect(hello(formats: Array(many.prefix(31))) != nil && hello(formats: many) == nil)
  }

  @Test("What is missing of a hello is asked for", arguments: hellos)
  func truncations(text: String, hello: LinkHello) throws {
    try expectMissing(of: bytes(text), LinkLook.hello)
  }

  @Test("A changed byte gives an error inside the frame, or a value that encodes to itself")
  func changes() throws {
    for (text, _) in Self.hellos { try expectSteady(bytes(text), LinkLook.hello) }
  }

  @Test(
    "What is no hello is refused as soon as it shows",
    arguments: [
      ("51", .badMagic, 0, "51"), ("5145564d", .badMagic, 0, "QEMU"),
      ("5145564d 00000003 07", .badMagic, 0, "QEMU"), ("11223344", .badMagic, 0, "QEMU"),
      ("160301", .badMagic, 0, "16 03 01"), ("\"MFDLHELP\"", .badMagic, 0, "50"),
      ("\"MFDLANSW\"", .badMagic, 0, "both sides"), ("\"GET / HTTP/1.1\"", .badMagic, 0, "47"),
      ("\"MFDLHELO\" 0002 0005", .badVersion, 8, "connecting side speaks link version 2.5"),
      ("\"MFDLHELO\" 0000 0009", .badVersion, 8, "the answering side 1.0"),
      ("\"MFDLHELO\" 0001 0000 00010001", .limitExceeded, 12, "65537"),
      ("\"MFDLHELO\" 0001 0000 ffffffff", .limitExceeded, 12, "4294967295"),
    ] as [(String, WireError.Code, UInt64, String)])
  func heads(text: String, code: WireError.Code, offset: UInt64, words: String) {
    let error = #expect(throws: WireError.self) { try decodeHello(bytes(text)) }
    #expect(error?.code == code && error?.offset == 100 + offset)
    #expect(error?.message.contains(words) == true, "\(error.debugDescription)")
  }

  @Test("Another major is told before anything else of the hello is looked at")
  func majorFirst() {
    let error = #expect(throws: WireError.self) {
      try decodeHello(bytes("\"MFDLHELO\" 0002 0000 ffffffff 0000"))
    }
    #expect(error?.code == .badVersion)
  }

  @Test("A higher minor is taken, with what it says beyond ours")
  func minors() throws {
    let later = Examples.hello(version: (1, 7), more: Examples.field("later", flags: 0, [1, 2]))
    guard case .hello(let hello, let consumed) = try decodeHello(later) else {
      Issue.record("not decoded")
      return
    }
    #expect(hello.version == LinkVersion(1, 7) && consumed == later.count)
    #expect("\(hello.version)" == "1.7")
  }

  @Test("An unknown field is passed over, unless it is critical")
  func unknownFields() throws {
    for flags: UInt8 in [0, 0xfe] {
      let whole = Examples.hello(more: Examples.field("x", flags: flags, []))
      #expect(throws: Never.self) { try decodeHello(whole) }
    }
    for flags: UInt8 in [1, 0xff] {
      let at = UInt64(Examples.hello().count)
      let whole = Examples.hello(
        version: (1, 2), more: Examples.field("later", flags: flags, [1]))
      let error = #expect(throws: WireError.self) { try decodeHello(whole) }
      #expect(error?.code == .unsupported && error?.offset == 100 + at)
      #expect(error?.message.contains("later of link version 1.2") == true)
    }
    // The known ones are known whatever their flags and their order.
    let bare = Examples.hello()
    #expect(
      try decodeHello(
        Examples.frame(
          "MFDLHELO",
          Examples.field("formats", flags: 0, []) + Examples.field("capacity", [0, 0, 0, 128])
            + Examples.field("page-size", [0, 0, 16, 0]) + Examples.field("role", flags: 0, [0])
            + Examples.field("session", Examples.session.bytes))) == decodeHello(bare))
  }

  @Test("A field is there once, known or not")
  func duplicates() {
    let at = UInt64(Examples.hello().count)
    for (more, offset) in [
      (Examples.field("role", [0]), at),
      (Examples.field("x", flags: 0, []) + Examples.field("x", flags: 0, [1]), at + 5),
    ] {
      let error = #expect(throws: WireError.self) { try decodeHello(Examples.hello(more: more)) }
      #expect(error?.code == .mismatch && error?.offset == 100 + offset)
    }
  }

  @Test(
    "A hello has its fields", arguments: ["session", "role", "page-size", "capacity", "formats"])
  func missing(name: String) {
    let error = #expect(throws: WireError.self) { try decodeHello(Examples.hello([name: nil])) }
    #expect(error?.code == .mismatch && error?.offset == 112)
    #expect(error?.message.contains("no field \(name)") == true)
  }

  @Test(
    "A body that is none is refused where it is",
    arguments: [
      ("05", .badLength, 0), ("05 00 00", .badLength, 0), ("05 00 0000", .badLength, 0),
      ("00 00 0000", .badLength, 0), ("02 00 0000 \"a\"", .badLength, 0),
      ("01 00 0002 \"a\" 00", .badLength, 2), ("01 01 ffff \"a\" 00", .badLength, 2),
      ("ff 00 ffff", .badLength, 0), ("01 00 0000 07", .badName, 4),
      ("02 00 0000 \"a\" ff", .badName, 4), ("01 00 0000 0a", .badName, 4),
    ] as [(String, WireError.Code, UInt64)])
  func bodies(text: String, code: WireError.Code, offset: UInt64) {
    let error = #expect(throws: WireError.self) {
      try decodeHello(Examples.hello(more: bytes(text)))
    }
    #expect(error?.code == code)
    #expect(error?.offset == 100 + UInt64(Examples.hello().count) + offset)
  }

  @Test("64 fields and 64 KiB are taken, more are not")
  func sizes() throws {
    func more(_ count: Int) -> [UInt8] {
      (0..<count).flatMap { Examples.field("x\($0)", flags: 0, []) }
    }
    #expect(throws: Never.self) { try decodeHello(Examples.hello(more: more(59))) }
    let last = UInt64(Examples.hello(more: more(59)).count)
    let error = #expect(throws: WireError.self) { try decodeHello(Examples.hello(more: more(60))) }
    #expect(error?.code == .limitExceeded && error?.offset == 100 + last)

    let rest = LinkHello.maxSize - Examples.hello().count - 5
    let full = Examples.hello(
      more: Examples.field("x", flags: 0, [UInt8](repeating: 0xaa, count: rest)))
    guard case .hello(_, let consumed) = try decodeHello(full) else {
      Issue.record("not decoded")
      return
    }
    #expect(consumed == LinkHello.maxSize)
  }

  @Test(
    "A value that cannot be is refused where it is",
    arguments: [
      ("session", "00", .badLength, -9), ("session", "", .badLength, -9),
      ("role", "", .badLength, -6), ("role", "02", .unknownElement, 0),
      ("role", "ff", .unknownElement, 0),
      ("role", "0000", .badLength, -6), ("role", "01", .badLength, -6),
      ("role", "010000", .mismatch, nil), ("role", "0100ff", .limitExceeded, 1),
      ("role", "01ffff", .limitExceeded, 1), ("page-size", "001000", .badLength, -11),
      ("page-size", "00000000", .badLength, 0), ("page-size", "00000200", .badLength, 0),
      ("page-size", "00001001", .badLength, 0), ("page-size", "80000000", .badLength, 0),
      ("capacity", "00000000", .limitExceeded, 0), ("capacity", "00001001", .limitExceeded, 0),
      ("capacity", "ffffffff", .limitExceeded, 0), ("capacity", "0000000080", .badLength, -10),
    ] as [(String, String, WireError.Code, Int?)])
  func values(name: String, text: String, code: WireError.Code, offset: Int?) throws {
    let error = #expect(throws: WireError.self) {
      try decodeHello(Examples.hello([name: bytes(text)]))
    }
    #expect(error?.code == code, "\(error.debugDescription)")
    // Without an offset the error is another field's: a channel has no formats.
    guard let offset else { return }
    let fields = [("session", 27), ("role", 9), ("page-size", 17), ("capacity", 16)]
    let before = fields.prefix { $0.0 != name }.reduce(0) { $0 + $1.1 }
    #expect(error?.offset == UInt64(116 + before + 4 + name.utf8.count + offset))
  }

  @Test(
    "A list of formats that cannot be is refused where it is",
    arguments: [
      ("00 00000001", .badName, 1), ("05 \"lz4/1\"", .badLength, 0),
      ("05 \"lz4/1\" 000001", .badLength, 0), ("ff \"lz4/1\" 00000001", .badLength, 0),
      ("05 \"lz4/0\" 00000001", .badName, 1), ("05 \"LZ4/1\" 00000001", .badName, 1),
      ("04 \"lz41\" 00000001", .badName, 1), ("05 \"lz4/\" 01 00000001", .badName, 1),
      ("07 \"lz4/1/1\" 00000001", .badName, 1), ("09 \"lz4/12345\" 00000001", .badName, 1),
      ("05 \"lz4/1\" 00000000", .limitExceeded, 6), ("05 \"lz4/1\" 04000001", .limitExceeded, 6),
      ("05 \"lz4/1\" ffffffff", .limitExceeded, 6), ("06 \"none/1\" 00080000", .mismatch, 1),
      ("05 \"lz4/1\" 00000001 05 \"lz4/1\" 00000002", .mismatch, 11),
      ("05 \"lz4/1\" 00000001 05", .badLength, 10),
    ] as [(String, WireError.Code, UInt64)])
  func formats(text: String, code: WireError.Code, offset: UInt64) {
    let error = #expect(throws: WireError.self) {
      try decodeHello(Examples.hello(["formats": bytes(text)]))
    }
    #expect(error?.code == code, "\(error.debugDescription)")
    #expect(error?.offset == 116 + 27 + 9 + 17 + 16 + 11 + offset)
  }

  @Test("31 formats are taken, 32 are not; no more are required than offered")
  func counts() {
    func names(_ count: Int) -> [UInt8] {
      (1...count).flatMap { number in
        let name = Array("f\(number)/1".utf8)
        return [UInt8(name.count)] + name + [0, 0, 0, 1]
      }
    }
    #expect(throws: Never.self) { try decodeHello(Examples.hello(["formats": names(31)])) }
    let error = #expect(throws: WireError.self) {
      try decodeHello(Examples.hello(["formats": names(32)]))
    }
    #expect(error?.code == .limitExceeded)
    for (required, code) in [
      ([3], .mismatch), ([255], .mismatch), ([], .badLength), ([0, 1], .badLength),
    ] as [([UInt8], WireError.Code)] {
      let error = #expect(throws: WireError.self) {
        try decodeHello(
          Examples.hello(
            ["formats": names(2)], more: Examples.field("required", required)))
      }
      #expect(error?.code == code)
    }
  }

  @Test("Only main offers formats")
  func channelOffers() {
    for (name, value) in [("formats", []), ("required", [0])] as [(String, [UInt8])] {
      let changes: [String: [UInt8]?] = ["role": [1, 0, 0], "formats": nil]
      let whole = Examples.hello(changes, more: Examples.field(name, value))
      let error = #expect(throws: WireError.self) { try decodeHello(whole) }
      #expect(error?.code == .mismatch)
      #expect(error?.message.contains(name) == true)
    }
  }
}
