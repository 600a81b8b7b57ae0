import Testing
import Wire

@Suite("Checkpoints on the main channel")
struct CheckpointTests {
  /// REQUEST, SEND, an END of `ram` with one zero page, EOF, and `size` bytes of device state.
  private func checkpoint(_ stream: inout Stream, size: Int = 20) {
    stream.encoder.colo(.checkpointRequest)
    stream.encoder.colo(.vmstateSend)
    stream.encoder.command(.switchoverStart)
    stream.begin(.end)
    stream.encoder.zero(block: 1, offset: 0x1000)
    stream.end()
    stream.encoder.eof()
    stream.encoder.deviceState(size: UInt64(size))
    stream.encoder.raw(repeatElement(0x55, count: size))
  }

  @Test("Checkpoints follow the migration, and CONTINUE goes on in the next one")
  func sequence() throws {
    var stream = Stream.complete()
    checkpoint(&stream)
    checkpoint(&stream)
    let (elements, completion) = try stream.decode()
    #expect(completion == .complete)
    let one: [StreamDecoder.Element] = [
      .colo(.checkpointRequest), .colo(.vmstateSend), .command(.switchoverStart),
      .ramBegin(SectionHeader(kind: .end, id: 1, name: "ram", instance: 0, version: 4)),
      .zero(block: 1, offset: 0x1000, fill: 0), .endOfRAMSection, .footer(id: 1), .eof,
      .deviceState(size: 20),
    ]
    #expect(elements.suffix(18).elementsEqual(one + one))
    // The second one's record is 9 bytes: the block was named in the first.
    #expect(
      stream.encoder.bytes.suffix(20 + 12 + 1 + 5 + 8 + 9).starts(
        with: bytes("0000000000001022 00")))
  }

  @Test("Other iterables end in a checkpoint where VMSTATE_SIZE follows EOF")
  func iterables() throws {
    var stream = Stream()
    stream.section(.start, id: 7, "dirty-bitmap", body: [])
    stream.begin(.start)
    stream.encoder.ramBlocks(Stream.blocks)
    stream.end()
    stream.section(.end, id: 7, body: [])
    stream.begin(.end)
    stream.end()
    stream.encoder.eof()
    stream.encoder.vmDescription("{}".utf8)
    stream.encoder.colo(.checkpointRequest)
    stream.encoder.colo(.vmstateSend)
    stream.begin(.end)
    stream.end()
    stream.section(.end, id: 7, body: bytes("7e 00000007 00 00000003"))
    stream.encoder.eof()
    stream.encoder.deviceState(size: 1)
    stream.encoder.raw([0])
    #expect(try stream.decode().1 == .complete)
  }

  @Test("A primary that is gone inside a checkpoint leaves the one before")
  func interrupted() throws {
    var stream = Stream.complete()
    checkpoint(&stream)
    let first = stream.encoder.bytes.count
    checkpoint(&stream)
    let all = stream.encoder.bytes
    for end in first...all.count {
      stream.encoder.clear()
      stream.encoder.raw(all[..<end])
      let expected: StreamDecoder.Completion =
        end == first || end == all.count ? .complete : .insideCheckpoint(number: 2)
      #expect(try stream.decode().1 == expected, "after \(end) bytes")
    }
  }

  /// What follows a complete migration; which error at which byte of it.
  static let wrong: [(String, WireError.Code, UInt64, String)] = [
    ("00000000", .outOfOrder, 0, "checkpointReady where checkpointRequest is due"),
    ("00000003", .outOfOrder, 0, "vmstateSend"),
    ("00000007", .unknownElement, 0, "0x7"),
    ("01", .unknownElement, 0, "0x1"),
    ("51 45 56 4d", .unknownElement, 0, "0x51"),
    ("06 00000000", .unknownElement, 0, "0x6"),
    ("00000001 00000001", .outOfOrder, 4, "vmstateSend is due"),
    ("00000001 00000003 00", .outOfOrder, 8, "EOF before"),
    ("00000001 00000003 01 00000001 03 \"ram\" 00000000 00000004", .outOfOrder, 8, "twice"),
    (
      "00000001 00000003 03 00000001 0000000000000010 7e 00000001 00 00000001", .outOfOrder, 27,
      "vmstateSize is due"
    ),
    (
      "00000001 00000003 03 00000001 0000000000000010 7e 00000001 00 00000004 0000000000000000",
      .badLength, 31, "without device state"
    ),
    (
      "00000001 00000003 03 00000001 0000000000000010 7e 00000001 00 00000004 0000000010000001",
      .limitExceeded, 31, "268435457"
    ),
    (
      "00000001 00000003 03 00000001 0000000000000010 7e 00000001 00 00000004 ffffffffffffffff",
      .limitExceeded, 31, "18446744073709551615"
    ),
  ]

  @Test("What is wrong is refused where it is", arguments: wrong)
  func refused(text: String, code: WireError.Code, offset: UInt64, words: String) {
    var stream = Stream.complete()
    let start = stream.raw(text)
    stream.expect(code, at: start + offset, words)
  }

  @Test("A blob that is not sections and EOF is refused")
  func blobs() throws {
    func error(_ text: String, max: Int = 10) -> WireError? {
      bytes(text).withUnsafeBytes { blob in
        #expect(throws: WireError.self) {
          try DeviceStateScanner.split(blob, at: 1000, maxSections: max)
        }
      }
    }
    let section = "04 00000002 01 41 00000000 00000001 00 7e 00000002"
    #expect(error("")?.code == .truncated)
    #expect(error(section)?.code == .truncated)
    #expect(error(section + "00 00")?.code == .truncated)
    #expect(error("00 00")?.code == .badLength)
    #expect(error("01 00000002")?.code == .unknownElement)
    #expect(error("04 000000")?.code == .truncated)
    #expect(error("04 00000002 00")?.code == .badLength)
    #expect(error(section + section + "00", max: 1)?.code == .limitExceeded)
    let two = try bytes(section + section + "00").withUnsafeBytes {
      try DeviceStateScanner.split($0)
    }
    #expect(two.map(\.range) == [0..<21, 21..<42])
    #expect(two.map(\.body) == [15..<16, 36..<37])
  }
}
