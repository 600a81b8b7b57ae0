import Testing
import Wire

/// File header, configuration and commands.
@Suite("The start of the main channel")
struct MainChannelStartTests {
  @Test("The bytes that SPECIFICATION section 1.3 shows")
  func specification() throws {
    var stream = Stream()
    stream.encoder.clear()
    stream.raw(
      """
      51 45 56 4d 00 00 00 03  07  00 00 00 0b 70 63 2d 71 33 35 2d 31 31 2e 31
      05 1a "configuration/capabilities" 00 00 00 01  00 00 00 01  0f "x-ignore-shared"
      05 12 "configuration/uuid" 00 00 00 01  00 11 22 33 44 55 66 77 88 99 aa bb cc dd ee ff
      08 00 01 00 00
      08 00 02 00 04 00 00 00 01
      """)
    let shown = stream.encoder.bytes
    stream.begin(.start)
    let blocks = [
      RAMBlockDescription(name: "pc.ram", usedLength: 0x8000, guestAddress: 0),
      RAMBlockDescription(name: "pc.bios", usedLength: 0x2000, guestAddress: 0xfffc_0000),
    ]
    stream.encoder.ramBlocks(blocks, ignoreShared: true)
    stream.end()
    stream.begin(.end)
    stream.end()
    stream.encoder.eof()
    let configuration = Configuration(
      machine: "pc-q35-11.1", capabilities: ["x-ignore-shared"],
      uuid: VMUUID("00112233-4455-6677-8899-aabbccddeeff"))
    let (elements, completion) = try stream.decode()
    #expect(
      elements.prefix(6) == [
        .fileHeader(version: 3), .configuration(configuration), .command(.openReturnPath),
        .command(.ping(1)),
        .ramBegin(SectionHeader(kind: .start, id: 1, name: "ram", instance: 0, version: 4)),
        .ramBlocks(blocks),
      ])
    #expect(completion == .complete)
    // And back.
    var encoder = StreamEncoder()
    encoder.fileHeader()
    encoder.configuration(configuration)
    encoder.command(.openReturnPath)
    encoder.command(.ping(1))
    #expect(encoder.take() == shown)
    #expect(encoder.bytes.isEmpty)
  }

  @Test("Every command encodes to what decodes to it")
  func commands() throws {
    let commands: [Command] = [.openReturnPath, .ping(0xdead_beef), .enableCOLO, .switchoverStart]
    var stream = Stream()
    for command in commands { stream.encoder.command(command) }
    var decoder = StreamDecoder()
    let found = try stream.encoder.bytes.withUnsafeBytes { all in
      var elements: [StreamDecoder.Element] = []
      var rest = all
      while case .element(let element, let consumed) = try decoder.next(rest) {
        elements.append(element)
        rest = UnsafeRawBufferPointer(rebasing: rest[consumed...])
      }
      return elements
    }
    #expect(found.dropFirst(2).elementsEqual(commands.map { .command($0) }))
    #expect(decoder.returnPathRequested && decoder.coloEnabled)
  }

  @Test("A machine may send no configuration")
  func noConfiguration() throws {
    var stream = Stream()
    let configured = Stream.complete().encoder.bytes.dropFirst(stream.encoder.bytes.count)
    stream.encoder.clear()
    stream.encoder.fileHeader()
    stream.encoder.raw(configured)
    #expect(try stream.decode().1 == .complete)
  }

  /// What follows the file header, in hexadecimal; which error at which byte of the stream.
  static let wrong: [(String, WireError.Code, UInt64, String)] = [
    ("07 00000000", .badLength, 9, "machine"),
    ("07 00000401", .badLength, 9, "1025"),
    ("07 ffffffff", .badLength, 9, "4294967295"),
    ("07 00000002 4100", .badName, 13, "unprintable"),
    ("07 00000001 41 05 00", .badLength, 15, "empty"),
    ("07 00000001 41 05 01 0a", .badName, 16, ""),
    ("07 00000001 41 05 01 41 00000001", .unknownElement, 14, "subsection A"),
    ("07 00000001 41 05 12 \"configuration/uuid\" 00000002", .badVersion, 14, "version 2"),
    (
      "07 00000001 41 05 1a \"configuration/capabilities\" 00000001 00000041", .limitExceeded, 14,
      "65 capabilities"
    ),
    (
      "07 00000001 41 05 1a \"configuration/capabilities\" 00000001 00000001 00", .badLength, 50,
      "a capability"
    ),
    (
      "07 00000001 41 05 1a \"configuration/capabilities\" 00000001 00000001 0a \"mapped-ram\" 00",
      .unsupported, 8, "mapped-ram"
    ),
    (
      "07 00000001 41 05 1e \"configuration/target-page-bits\" 00000001 0000000d 00", .mismatch, 8,
      "2^13"
    ),
    (
      "07 00000001 41 05 1e \"configuration/target-page-bits\" 00000001 ffffffff 00", .mismatch, 8,
      "2^4294967295"
    ),
    (
      "07 00000001 41 05 1a \"configuration/capabilities\" 00000001 00000000"
        + "05 1a \"configuration/capabilities\" 00000001 00000000", .outOfOrder, 50, "repeated"
    ),
    ("07 00000001 41 07", .outOfOrder, 14, "configuration"),
    ("08 0000", .unknownElement, 9, "command 0"),
    ("08 000c", .unknownElement, 9, "command 12"),
    ("08 0003", .unsupported, 9, "POSTCOPY_ADVISE"),
    ("08 0004", .unsupported, 9, "postcopy-ram"),
    ("08 0005", .unsupported, 9, "postcopy-ram"),
    ("08 0006", .unsupported, 9, "postcopy-ram"),
    ("08 0007", .unsupported, 9, "PACKAGED"),
    ("08 0009", .unsupported, 9, "postcopy-ram"),
    ("08 000a", .unsupported, 9, "RECV_BITMAP"),
    ("08 0002 0004 00000001", .outOfOrder, 8, "PING"),
    ("08 0001 0001", .badLength, 11, "0 bytes, found 1"),
    ("08 0001 0000 08 0002 0005", .badLength, 16, "4 bytes, found 5"),
    ("08 0001 0000 08 0001 0000", .outOfOrder, 13, "twice"),
    ("05", .unknownElement, 8, "0x5"),
    ("7e 00000001", .unknownElement, 8, "0x7e"),
    ("09", .unknownElement, 8, "0x9"),
    ("00", .outOfOrder, 8, "EOF before"),
    ("06 00000000", .outOfOrder, 8, "description"),
  ]

  @Test("What is wrong is refused where it is", arguments: wrong)
  func refused(text: String, code: WireError.Code, offset: UInt64, words: String) {
    var stream = Stream()
    stream.encoder.clear()
    stream.encoder.fileHeader()
    stream.raw(text)
    stream.expect(code, at: offset, words)
  }

  @Test("Other files are told apart at their first bytes")
  func magic() {
    var stream = Stream()
    stream.encoder.clear()
    stream.raw("11 22 33 44")
    stream.expect(.badMagic, at: 0, "multifd channel")
    stream.encoder.clear()
    stream.raw("7f \"ELF\"")
    stream.expect(.badMagic, at: 0, "0x7f454c46")
    stream.encoder.clear()
    stream.raw("51 45 56 4d 00 00 00 02")
    stream.expect(.badVersion, at: 4, "expected version 3, found 2")
    stream.encoder.clear()
    stream.expect(.truncated, at: 0, "file header")
  }
}
