import NBD
import Testing

@Suite("Requests to a network block device")
struct RequestTests {
  static func bytes(
    _ kind: Int, flags: Int = 0, cookie: Int = 0x1122_3344_5566_7788, offset: Int, length: Int
  ) -> [UInt8] {
    HandshakeTests.big32(0x2560_9513) + HandshakeTests.big16(flags) + HandshakeTests.big16(kind)
      + HandshakeTests.big64(cookie) + HandshakeTests.big64(offset)
      + HandshakeTests.big32(length)
  }

  static func request(
    _ kind: Int, flags: Int = 0, offset: Int = 0, length: Int = 4096
  ) throws -> NBDRequest {
    try bytes(kind, flags: flags, offset: offset, length: length).withUnsafeBytes {
      try NBDRequest(decoding: $0)
    }
  }

  @Test("The fields are where the protocol has them")
  func fields() throws {
    let request = try Self.request(1, offset: 0x0123_4567_89ab, length: 512)
    #expect(request.kind == .write)
    #expect(request.offset == 0x0123_4567_89ab)
    #expect(request.length == 512)
    #expect(request.dataSize == 512)
    #expect(try Self.request(0).dataSize == 0)
    #expect(
      request.reply()
        == [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88])
    #expect(request.reply(.noSpace)[4..<8] == [0, 0, 0, 28])
  }

  @Test("What is no request ends the connection")
  func magic() {
    for place in 0..<4 {
      var bytes = Self.bytes(0, offset: 0, length: 1)
      bytes[place] ^= 1
      #expect(throws: NBDError.self) {
        try bytes.withUnsafeBytes { try NBDRequest(decoding: $0) }
      }
    }
  }

  @Test("Past the end, too long, unknown: refused by the protocol's numbers")
  func obstacles() throws {
    let size: UInt64 = 1 << 20
    #expect(try Self.request(1, offset: (1 << 20) - 4096).obstacle(size: size) == nil)
    #expect(try Self.request(1, offset: (1 << 20) - 4095).obstacle(size: size) == .noSpace)
    #expect(try Self.request(6, offset: 1 << 20, length: 1).obstacle(size: size) == .noSpace)
    #expect(try Self.request(0, offset: 1 << 20, length: 1).obstacle(size: size) == .invalid)
    // Offset and length that overflow 64 bits.
    #expect(try Self.request(1, offset: -1).obstacle(size: size) == .noSpace)
    #expect(try Self.request(0, length: 33 << 20).obstacle(size: 1 << 40) == .invalid)
    #expect(try Self.request(6, length: 0xffff_ffff).obstacle(size: 1 << 40) == nil)
    #expect(try Self.request(7).obstacle(size: size) == .invalid)
    #expect(try Self.request(5).obstacle(size: size) == .invalid)
    #expect(try Self.request(3, offset: 0, length: 0).obstacle(size: size) == nil)
  }

  @Test("Flags: FUA everywhere, NO_HOLE and FAST_ZERO where something is written, nothing else")
  func flags() throws {
    #expect(try Self.request(1, flags: 1).obstacle(size: 1 << 20) == nil)
    #expect(try Self.request(6, flags: 2).obstacle(size: 1 << 20) == nil)
    #expect(try Self.request(0, flags: 2).obstacle(size: 1 << 20) == .invalid)
    #expect(try Self.request(1, flags: 4).obstacle(size: 1 << 20) == .invalid)
  }
}
