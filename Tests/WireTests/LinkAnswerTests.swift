import Testing
import Wire

@Suite("The link's answer")
struct LinkAnswerTests {
  private typealias Examples = LinkExamples

  static let answers: [(String, LinkAnswer)] = [
    (Examples.acceptedText, Examples.accepted), (Examples.refusedText, Examples.refused),
  ]

  @Test("The bytes that docs/LINK.md shows", arguments: answers)
  func document(text: String, answer: LinkAnswer) throws {
    let whole = bytes(text)
    #expect(answer.encode() == whole)
    #expect(try decodeAnswer(whole) == .answer(answer, consumed: whole.count))
    // The return path may follow.
    #expect(try decodeAnswer(whole + [0, 2]) == .answer(answer, consumed: whole.count))
    try expectMissing(of: whole, LinkLook.answer)
  }

  @Test("A changed byte gives an error inside the frame, or a value that encodes to itself")
  func changes() throws {
    for (text, _) in Self.answers { try expectSteady(bytes(text), LinkLook.answer) }
  }

  @Test(
    "What is no answer to this hello is refused where it is",
    arguments: [
      ("\"MFDLHELO\"", .badMagic, 0, "both sides"), ("5145564d", .badMagic, 0, "QEMU"),
      ("00020004", .badMagic, 0, "00 02"),
      (
        "\"MFDLANSW\" 0003 0001", .badVersion, 8,
        "side speaks link version 1.0, the answering side 3.1"
      ),
      ("\"MFDLANSW\" 0001 0000 ffffffff", .limitExceeded, 12, "answer"),
      ("\"MFDLANSW\" 0001 0000 00000000", .mismatch, 12, "no field accepted"),
      (
        "\"MFDLANSW\" 0001 0000 0000001a 08 01 0000 \"accepted\" 07 01 0003 \"refused\" \"why\"",
        .mismatch, 28, "accepts and refuses"
      ),
      ("\"MFDLANSW\" 0001 0000 0000000b 07 01 0000 \"refused\"", .badLength, 18, "1 to 512"),
      ("\"MFDLANSW\" 0001 0000 0000000c 07 01 0001 \"refused\" 0a", .badName, 27, "unprintable"),
      ("\"MFDLANSW\" 0001 0000 0000000c 08 01 0000 \"accepted\"", .mismatch, 16, "without lz4/1"),
      (
        "\"MFDLANSW\" 0001 0000 00000016 08 01 000a \"accepted\" 05 \"lz4/1\" 00080819", .mismatch,
        28,
        "not offered"
      ),
      (
        "\"MFDLANSW\" 0001 0000 00000020 08 01 0014 \"accepted\" 05 \"lz4/1\" 00080818 05 \"lz4/2\" 00080818",
        .mismatch, 38, "lz4/2"
      ),
      (
        "\"MFDLANSW\" 0001 0000 00000020 08 01 0014 \"accepted\" 05 \"lz4/1\" 00080818 05 \"lz4/1\" 00080818",
        .mismatch, 39, "twice"
      ),
      (
        "\"MFDLANSW\" 0001 0004 00000011 08 01 0000 \"accepted\" 01 01 0000 \"x\"", .unsupported,
        28,
        "1.4"
      ),
    ] as [(String, WireError.Code, UInt64, String)])
  func refused(text: String, code: WireError.Code, offset: UInt64, words: String) {
    let error = #expect(throws: WireError.self) { try decodeAnswer(bytes(text)) }
    #expect(error?.code == code && error?.offset == 100 + offset, "\(error.debugDescription)")
    #expect(error?.message.contains(words) == true, "\(error.debugDescription)")
  }

  @Test("A channel is accepted without formats")
  func channel() throws {
    let answer = LinkAnswer(to: Examples.channel, having: [Examples.lz4])
    #expect(answer == .accepted(.rawOnly))
    let encoded = answer.encode()
    #expect(
      try decodeAnswer(encoded, to: Examples.channel) == .answer(answer, consumed: encoded.count))
    #expect(throws: WireError.self) {
      try decodeAnswer(Examples.accepted.encode(), to: Examples.channel)
    }
  }

  @Test("What both have is agreed, in the order of the answering side")
  func agreement() throws {
    let larger = try #require(LinkFormat("lz4/1", bound: Examples.lz4.bound + 1))
    let smaller = try #require(LinkFormat("zstd/1", bound: Examples.zstd.bound - 1))
    let other = try #require(LinkFormat("lz4/2", bound: 1 << 20))
    #expect(
      LinkAnswer(to: Examples.main, having: [Examples.zstd, other, larger]) == Examples.accepted)
    // zstd/1 was offered, and lz4/1 was asked for by name.
    #expect(
      try LinkAnswer(to: Examples.main, having: [smaller, larger])
        == .accepted(#require(LinkFormats([Examples.lz4]))))
    #expect(
      LinkAnswer(to: Examples.main, having: [Examples.zstd, other])
        == .refused(LinkRefusal("lz4/1 was asked for, the answering side has zstd/1, lz4/2")))
    #expect(
      LinkAnswer(to: Examples.main, having: [])
        == .refused(LinkRefusal("lz4/1 was asked for, the answering side has none")))
    let less = try #require(LinkFormat("lz4/1", bound: 4096))
    #expect(
      LinkAnswer(to: Examples.main, having: [less])
        == .refused(
          LinkRefusal(
            "lz4/1 with payloads of up to 526360 bytes was asked for, the answering side takes up to 4096"
          )))
  }

  @Test("A refusal is one printable line of at most 512 bytes")
  func refusals() throws {
    for (text, line) in [
      ("no", "no"), ("a\nb\u{e9}\u{1b}", "a?b??"), ("", "no reason is given"),
      (String(repeating: "x", count: 512), String(repeating: "x", count: 512)),
      (String(repeating: "x", count: 513), String(repeating: "x", count: 509) + "..."),
      (String(repeating: "x", count: 9000), String(repeating: "x", count: 509) + "..."),
    ] {
      let answer = LinkAnswer.refused(LinkRefusal(text))
      #expect(LinkRefusal(text).text == line)
      let encoded = answer.encode()
      #expect(try decodeAnswer(encoded) == .answer(answer, consumed: encoded.count))
    }
    let long = Examples.frame(
      "MFDLANSW", Examples.field("refused", [UInt8](repeating: 0x78, count: 513)))
    #expect(throws: WireError.self) { try decodeAnswer(long) }
  }

  @Test("A hello that does not decode is refused in words for the other side")
  func refusalOfErrors() {
    let version = #expect(throws: WireError.self) {
      try decodeHello(Examples.hello(version: (2, 0)))
    }
    #expect(
      version.map { LinkRefusal($0).text }
        == "the connecting side speaks link version 2.0, the answering side 1.0")
    let role = #expect(throws: WireError.self) { try decodeHello(Examples.hello(["role": [7]])) }
    #expect(
      role.map { LinkRefusal($0).text }
        == "the hello: unknownElement at byte 151: a connection of kind 7, unknown to link version 1.0"
    )
  }
}

@Suite("The link's formats")
struct LinkFormatsTests {
  @Test("A format is NAME/N with a bound that can be")
  func names() {
    let longest = String(repeating: "a", count: 31)
    for name in ["lz4/1", "a/9999", "0-_/10", "\(longest)/1", "none/2"] {
      #expect(LinkFormat(name, bound: 1) != nil, "\(name)")
    }
    for name in [
      "", "/", "lz4", "lz4/", "/1", "lz4/0", "lz4/01", "lz4/10000", "-a/1", "_a/1", "Lz4/1",
      "a b/1",
      "a\u{e9}/1", "\(longest)a/1", "lz4/1/1", "lz4/1 ", "lz4/+1", "none/1",
    ] {
      #expect(LinkFormat(name, bound: 1) == nil, "\(name)")
    }
    #expect(LinkFormat("lz4/1", bound: 0) == nil)
    #expect(LinkFormat("lz4/1", bound: LinkFormat.maxBound) != nil)
    #expect(LinkFormat("lz4/1", bound: LinkFormat.maxBound + 1) == nil)
  }

  @Test("An index is the method's bits, shifted by one")
  func indices() throws {
    let agreed = (1...31).compactMap { LinkFormat("f\($0)/1", bound: 1) }
    let formats = try #require(LinkFormats(agreed))
    for index in 0...31 {
      let method = formats.method(of: index)
      #expect(method.rawValue == UInt32(index) << 1)
      #expect(method.rawValue & ~MultiFDFlags.methodMask == 0)
      // SYNC and DEVICE_STATE are not part of it.
      for others: UInt32 in [0, 1, 0x40] {
        let flags = MultiFDFlags(rawValue: method.rawValue | others)
        #expect(try formats.index(of: flags, at: 0) == index)
      }
      let name = index == 0 ? "none/1" : "f\(index)/1"
      #expect(formats.index(of: name) == index)
      #expect(formats[index]?.name == (index == 0 ? nil : name))
    }
    #expect(
      formats[-1] == nil && formats[32] == nil && formats[.max] == nil && formats[.min] == nil)
    #expect(formats.index(of: "f32/1") == nil)
    #expect(LinkFormats(agreed + [LinkExamples.lz4]) == nil)
    #expect(LinkFormats([LinkExamples.lz4, LinkExamples.lz4]) == nil)
  }

  @Test("An index that was not agreed is refused at the packet's flags")
  func unknownIndex() throws {
    let formats = try #require(LinkFormats([LinkExamples.zstd, LinkExamples.lz4]))
    #expect(try formats.index(of: MultiFDFlags(rawValue: 4), at: 0) == 2)
    for flags: UInt32 in [6, 0x3e, 0x3f] {
      let error = #expect(throws: WireError.self) {
        try formats.index(of: MultiFDFlags(rawValue: flags), at: 1000)
      }
      #expect(error?.code == .unknownFlags && error?.offset == 1008)
    }
    #expect(throws: WireError.self) {
      try LinkFormats.rawOnly.index(of: MultiFDFlags(rawValue: 2), at: 0)
    }
    #expect(try LinkFormats.rawOnly.index(of: MultiFDFlags(rawValue: 1), at: 0) == 0)
  }
}
