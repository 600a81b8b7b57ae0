import Testing
import Wire

@Suite("Return path and COLO messages")
struct ReturnPathTests {
  private func decode(_ text: String) throws -> ReturnPathMessage.Step {
    try bytes(text).withUnsafeBytes { try ReturnPathMessage.decode($0, at: 100) }
  }

  /// Frames of SPECIFICATION section 6, and what they mean.
  static let frames: [(String, ReturnPathMessage)] = [
    ("0001 0004 00000000", .shut(0)), ("0001 0004 00000001", .shut(1)),
    ("0002 0004 00000001", .pong(1)), ("0007 0000", .switchoverAck),
    ("0006 0004 00000001", .resumeAck(1)),
    (
      "0004 000c 0000000000012000 00001000", .requestPages(start: 0x12000, length: 4096, block: nil)
    ),
    (
      "0003 0013 0000000000012000 00001000 06 \"pc.ram\"",
      .requestPages(start: 0x12000, length: 4096, block: "pc.ram")
    ),
  ]

  @Test("A frame decodes and encodes", arguments: frames)
  func frame(text: String, message: ReturnPathMessage) throws {
    let whole = bytes(text)
    #expect(try decode(text) == .message(message, consumed: whole.count))
    #expect(message.encode() == whole)
    // What follows is not looked at; what is missing is asked for.
    #expect(try decode(text + "ff") == .message(message, consumed: whole.count))
    for count in 0..<whole.count {
      let step = try whole[..<count].withUnsafeBytes { try ReturnPathMessage.decode($0, at: 0) }
      guard case .needMore(let missing) = step else {
        Issue.record("decoded from \(count) bytes: \(step)")
        continue
      }
      #expect(missing > 0 && count + missing <= whole.count)
    }
  }

  @Test(
    "A frame that cannot be is refused where it is",
    arguments: [
      ("0000", .unknownElement, 0), ("0008", .unknownElement, 0), ("ffff", .unknownElement, 0),
      ("0005", .unsupported, 0), ("0001 0003", .badLength, 2), ("0001 0005", .badLength, 2),
      ("0002 0000", .badLength, 2), ("0003 000d", .badLength, 2), ("0003 010d", .badLength, 2),
      ("0004 000b", .badLength, 2), ("0004 ffff", .badLength, 2), ("0006 0000", .badLength, 2),
      ("0007 0001", .badLength, 2),
      ("0003 000e 0000000000012000 00001000 00 41", .badLength, 16),
      ("0003 000e 0000000000012000 00001000 02 41", .badLength, 16),
      ("0003 000f 0000000000012000 00001000 01 41 42", .badLength, 16),
      ("0003 000e 0000000000012000 00001000 01 07", .badName, 17),
    ] as [(String, WireError.Code, UInt64)])
  func refused(text: String, code: WireError.Code, offset: UInt64) {
    let error = #expect(throws: WireError.self) { try decode(text) }
    #expect(error?.code == code)
    #expect(error?.offset == 100 + offset)
  }

  @Test("COLO messages are 0 to 6")
  func colo() throws {
    #expect(COLOMessage.allCases.map(\.rawValue) == Array(0...6))
    for message in COLOMessage.allCases {
      let encoded = message.encode()
      #expect(encoded == [0, 0, 0, UInt8(message.rawValue)])
      #expect(try encoded.withUnsafeBytes { try COLOMessage(decoding: $0, at: 0) } == message)
    }
    for (text, code) in [("00000007", WireError.Code.unknownElement), ("000000", .truncated)] {
      let error = bytes(text).withUnsafeBytes { bytes in
        #expect(throws: WireError.self) { try COLOMessage(decoding: bytes, at: 5) }
      }
      #expect(error?.code == code)
    }
  }

  @Test("A UUID is 16 bytes, and text")
  func uuid() {
    let text = "00112233-4455-6677-8899-aabbccddeeff"
    let uuid = VMUUID(text)
    #expect(uuid?.description == text)
    #expect(uuid == VMUUID(text.uppercased()))
    #expect(uuid?.bytes == (0..<16).map { UInt8($0 * 0x11) })
    #expect(uuid.flatMap { VMUUID(bytes: $0.bytes) } == uuid)
    #expect(VMUUID.zero.description == "00000000-0000-0000-0000-000000000000")
    for wrong in [
      "", "00112233445566778899aabbccddeeff", text + "0", String(text.dropLast()),
      "0011223g-4455-6677-8899-aabbccddeeff", "001122334-455-6677-8899-aabbccddeeff",
    ] {
      #expect(VMUUID(wrong) == nil, "\(wrong)")
    }
    #expect(VMUUID(bytes: [UInt8](repeating: 1, count: 15)) == nil)
  }
}
