import Testing
import Wire

@Suite("RAM sections")
struct RAMSectionTests {
  @Test("The bytes that SPECIFICATION section 2.2 shows")
  func specification() throws {
    var stream = Stream()
    stream.raw(
      """
      01 00000002 03 "ram" 00000000 00000004
      0000000002022004
      06 "pc.ram" 0000000002000000
      14 "/rom@etc/acpi/tables" 0000000000022000
      0000000000000010
      7e 00000002
      02 00000002
      0000000000000008 06 "pc.ram"
      """)
    stream.encoder.raw(repeatElement(0xa5, count: 4096))
    stream.raw("0000000000001022 00  0000000000002002 14 \"/rom@etc/acpi/tables\" ff")
    stream.raw("0000000000000010 7e 00000002 03 00000002")
    // CONTINUE refers to the last block of the section before.
    stream.raw("0000000000003022 00 0000000000000010 7e 00000002 00")
    let (elements, completion) = try stream.decode()
    #expect(completion == .complete)
    func ram(_ kind: SectionKind) -> StreamDecoder.Element {
      .ramBegin(SectionHeader(kind: kind, id: 2, name: "ram", instance: 0, version: 4))
    }
    #expect(
      elements.dropFirst(2) == [
        ram(.start),
        .ramBlocks([
          RAMBlockDescription(name: "pc.ram", usedLength: 0x200_0000),
          RAMBlockDescription(name: "/rom@etc/acpi/tables", usedLength: 0x22000),
        ]),
        .endOfRAMSection, .footer(id: 2), ram(.part), .page(block: 0, offset: 0),
        .zero(block: 0, offset: 0x1000, fill: 0), .zero(block: 1, offset: 0x2000, fill: 0xff),
        .endOfRAMSection, .footer(id: 2), ram(.end), .zero(block: 1, offset: 0x3000, fill: 0),
        .endOfRAMSection, .footer(id: 2), .eof,
      ])
  }

  @Test("Devices before END: a background snapshot, and named so")
  func backgroundSnapshot() throws {
    var stream = Stream.started()
    stream.begin(.part)
    stream.end()
    stream.section(id: 3, "timer", body: [1, 2, 3])
    let end = UInt64(stream.encoder.bytes.count)
    stream.encoder.eof()
    stream.expect(.unsupported, at: end, "background-snapshot")
    // Without PART it is nothing that a QEMU sends.
    var other = Stream.started()
    let place = UInt64(other.encoder.bytes.count)
    other.encoder.eof()
    other.expect(.outOfOrder, at: place, "EOF before")
  }

  /// Records in a PART; which error at which byte of them.
  static let wrong: [(String, WireError.Code, UInt64, String)] = [
    ("0000000000000022 00", .outOfOrder, 0, "CONTINUE"),
    ("0000000000000028", .outOfOrder, 0, "CONTINUE"),
    ("0000000000000002 06 \"pc.rom\" 00", .unknownBlock, 8, "pc.rom"),
    ("0000000000000002 05 \"pc.ra\" 00", .unknownBlock, 8, "pc.ra"),
    ("0000000000000002 00", .badLength, 8, "empty"),
    ("0000000000000002 02 0041", .badName, 9, ""),
    ("0000000000008002 06 \"pc.ram\" 00", .badOffset, 0, "0x8000"),
    ("fffffffffffff002 06 \"pc.ram\" 00", .badOffset, 0, "0xfffffffffffff000"),
    ("0000000000002008 07 \"pc.bios\"", .badOffset, 0, "pc.bios"),
    ("0000000000001002 07 \"pc.bios\" 00 0000000000002022 00", .badOffset, 17, "0x2000"),
    ("0000000000001002 07 \"pc.bios\" 00 0000000000002028", .badOffset, 17, "0x2000"),
    ("0000000000000000", .unknownFlags, 0, "0x0"),
    ("000000000000000a", .unknownFlags, 0, "0xa"),
    ("0000000000000400", .unknownFlags, 0, "0x400"),
    ("0000000000000020", .unknownFlags, 0, "0x20"),
    ("0000000000001010", .unknownFlags, 0, "0x1010"),
    ("0000000000001200", .unknownFlags, 0, "0x1200"),
    ("0000000000000040", .unsupported, 0, "capability xbzrle"),
    ("0000000000000060", .unsupported, 0, "capability xbzrle"),
    ("0000000000000080", .unsupported, 0, "RDMA"),
    ("0000000000000100", .unsupported, 0, "capability compress"),
    ("0000000000000200", .outOfOrder, 0, "MULTIFD_FLUSH"),
    ("0000000000008004", .outOfOrder, 0, "block list"),
    ("0000000000000010 02 00000001", .unsupported, 8, "send-section-footer"),
    ("0000000000000010 05", .unknownElement, 8, "footer"),
    ("0000000000000010 7e 00000002", .mismatch, 9, "section 2 after section 1"),
  ]

  @Test("A wrong record is refused where it is", arguments: wrong)
  func refused(text: String, code: WireError.Code, offset: UInt64, words: String) {
    var stream = Stream.started()
    stream.begin(.part)
    let start = stream.raw(text)
    stream.expect(code, at: start + offset, words)
  }

  /// The START's records; which error at which byte of them.
  static let wrongStart: [(String, WireError.Code, UInt64, String)] = [
    ("0000000000000004", .badLength, 0, "no RAM"),
    ("ffffffffffffe004", .limitExceeded, 0, "0x100000"),
    ("0000000000101004", .limitExceeded, 0, "0x101000"),
    ("0000000000004004 01 41 0000000000000000", .badLength, 8, "0x0"),
    ("0000000000004004 01 41 0000000000000800", .badLength, 8, "0x800"),
    ("0000000000004004 01 41 0000000000005000", .badLength, 8, "beyond the total"),
    ("0000000000004004 01 41 fffffffffffff000", .badLength, 8, "beyond the total"),
    ("0000000000004004 01 41 0000000000001000 01 41 0000000000001000", .mismatch, 18, "twice"),
    (
      "0000000000004004 01 41 0000000000001000 01 42 0000000000001000 01 43", .limitExceeded, 28,
      "more than 2"
    ),
    ("0000000000001004 01 41 0000000000001000 0000000000001004", .outOfOrder, 18, "second"),
    ("0000000000000010", .outOfOrder, 0, "without a block list"),
    ("0000000000000002 01 41", .unknownBlock, 8, "A"),
  ]

  @Test("A wrong block list is refused where it is", arguments: wrongStart)
  func refusedStart(text: String, code: WireError.Code, offset: UInt64, words: String) {
    var stream = Stream()
    stream.limits.maxRAM = 0x10_0000
    stream.limits.maxBlocks = 2
    stream.begin(.start)
    let start = stream.raw(text)
    stream.expect(code, at: start + offset, words)
  }

  @Test("ram has version 4, instance 0, and one START")
  func header() {
    var stream = Stream()
    let start = UInt64(stream.encoder.bytes.count)
    stream.begin(.start, version: 3)
    stream.expect(.badVersion, at: start, "found 3")
    stream = Stream()
    stream.begin(.start, instance: 1)
    stream.expect(.mismatch, at: start, "instance 0, found 1")
    stream = Stream()
    stream.begin(.full)
    stream.expect(.outOfOrder, at: start, "FULL")
    stream = Stream.started()
    let second = UInt64(stream.encoder.bytes.count)
    stream.begin(.start)
    stream.expect(.outOfOrder, at: second, "twice")
    stream = Stream.ended()
    let after = UInt64(stream.encoder.bytes.count)
    stream.begin(.part)
    stream.expect(.outOfOrder, at: after, "after its END")
    stream = Stream.started()
    let early = stream.raw("00")
    stream.expect(.outOfOrder, at: early, "EOF before")
  }

  @Test("START tells the sync mode", arguments: [true, false])
  func syncMode(flush: Bool) throws {
    var decoder = StreamDecoder()
    var stream = Stream()
    stream.begin(.start)
    stream.encoder.ramBlocks(Stream.blocks)
    if flush { stream.encoder.multifdFlush() }
    stream.end()
    try stream.encoder.bytes.withUnsafeBytes { all in
      var rest = all
      while case .element(_, let consumed) = try decoder.next(rest) {
        rest = UnsafeRawBufferPointer(rebasing: rest[consumed...])
      }
    }
    #expect(decoder.syncMode == (flush ? .flush : .perSection))
    #expect(decoder.ramSectionID == 1)
    #expect(decoder.hasFooters == true)
  }

  @Test("A block list in single bytes is parsed once, however long")
  func longList() throws {
    let limit = ProcessorLimit()
    var stream = Stream()
    stream.limits.maxBlocks = 60_000
    stream.begin(.start)
    stream.encoder.ramBlocks(
      (0..<60_000).map {
        RAMBlockDescription(name: "block-\($0)", usedLength: 4096)
      })
    stream.end()
    var decoder = StreamDecoder(limits: stream.limits)
    try stream.encoder.bytes.withUnsafeBytes { all in
      var start = 0
      for end in 1...all.count {
        if end.isMultiple(of: 1024) { try limit.check() }
        if case .element(_, let consumed) = try decoder.next(
          UnsafeRawBufferPointer(rebasing: all[start..<end]))
        {
          start += consumed
        }
      }
    }
    #expect(decoder.blocks.count == 60_000)
  }
}
