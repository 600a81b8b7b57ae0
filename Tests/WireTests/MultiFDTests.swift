import TestSupport
import Testing
import Wire

@Suite("multifd packets")
struct MultiFDTests {
  /// A header of the layout in SPECIFICATION section 3.3 with the given u32 fields set.
  private func header(_ fields: [Int: UInt32] = [:], name: String = "pc.ram") -> [UInt8] {
    var header = [UInt8](repeating: 0, count: 1344)
    func set(_ offset: Int, _ value: UInt32) {
      for byte in 0..<4 {
        header[offset + byte] = UInt8(truncatingIfNeeded: value >> (24 - 8 * byte))
      }
    }
    set(0, 0x1122_3344)
    set(4, 1)
    header.replaceSubrange(64..<64 + name.utf8.count, with: name.utf8)
    for (offset, value) in fields { set(offset, value) }
    return header
  }

  private func decode(_ header: [UInt8], pageSize: Int = 4096) throws -> MultiFDPacketHeader {
    try header.withUnsafeBytes {
      try MultiFDPacketHeader(decoding: $0, pageSize: pageSize, at: 1000)
    }
  }

  @Test("The size depends on the page size as in SPECIFICATION section 3.3")
  func sizes() {
    #expect(MultiFDPacketHeader.size(pageSize: 4096) == 1344)
    #expect(MultiFDPacketHeader.capacity(pageSize: 4096) == 128)
    #expect(MultiFDPacketHeader.size(pageSize: 65536) == 384)
    #expect(MultiFDPacketHeader.capacity(pageSize: 1024) == 512)
  }

  @Test("The bytes that SPECIFICATION section 3.3 shows")
  func specification() throws {
    var shown = bytes(
      "11223344 00000001 00000002 00000080 00000003 00000378 0000000000000003 0000007d")
    shown += header()[shown.count...]
    let found = try decode(shown)
    #expect(
      found
        == MultiFDPacketHeader(
          flags: MultiFDFlags(rawValue: 2), pagesAllocated: 128, normalCount: 3,
          nextPacketSize: 888, packetNumber: 3, zeroCount: 125))
    #expect(found.flags.method == .zlib && !found.flags.contains(.sync))
    #expect(found.pageCount == 128 && found.payloadSize == 888)
    shown.withUnsafeBytes {
      #expect(MultiFDPacketHeader.blockName(in: $0).elementsEqual("pc.ram".utf8))
    }
  }

  @Test("The payload is that of the normal pages; a stale size does not count")
  func payload() throws {
    // 7.2 writes the last packet's size into a packet without pages.
    #expect(try decode(header([12: 128, 20: 0xffff_ffff])).payloadSize == 0)
    #expect(try decode(header([12: 128, 16: 3, 20: 0xffff_ffff])).payloadSize == 3 * 4096)
    #expect(try decode(header([8: 4, 12: 128, 16: 3, 20: 77])).payloadSize == 77)
    #expect(try decode(header([8: 4, 12: 128, 20: 77, 32: 128])).payloadSize == 0)
  }

  @Test(
    "A field that cannot be is refused where it is",
    arguments: [
      ([0: 0x5145_564d], .badMagic, 0), ([4: 2], .badVersion, 4), ([8: 0x80], .unknownFlags, 8),
      ([8: 0x8000_0000], .unknownFlags, 8), ([8: 6], .unknownFlags, 8),
      ([8: 0x40], .mismatch, 8), ([12: 129], .badLength, 12), ([12: 0xffff_ffff], .badLength, 12),
      ([12: 5, 16: 6], .badLength, 16), ([12: 128, 16: 0xffff_ffff], .badLength, 16),
      ([12: 5, 16: 3, 32: 3], .badLength, 32), ([12: 128, 16: 1, 32: 0xffff_ffff], .badLength, 32),
      ([16: 1], .badLength, 16), ([32: 1], .badLength, 32),
    ] as [([Int: UInt32], WireError.Code, UInt64)])
  func refused(fields: [Int: UInt32], code: WireError.Code, offset: UInt64) {
    let error = #expect(throws: WireError.self) { try decode(header(fields)) }
    #expect(error?.code == code)
    #expect(error?.offset == 1000 + offset)
  }

  @Test("A header that ends early is truncated there", arguments: [0, 11, 12, 319, 1343])
  func truncated(count: Int) {
    let error = #expect(throws: WireError.self) { try decode(Array(header().prefix(count))) }
    #expect(error?.code == .truncated)
    #expect(error?.offset == 1000 + UInt64(count))
  }

  @Test("Every offset is a page of the block", arguments: [1024, 4096, 65536])
  func offsets(pageSize: Int) throws {
    let capacity = MultiFDPacketHeader.capacity(pageSize: pageSize)
    let packet = MultiFDPacketHeader(
      flags: [], pagesAllocated: UInt32(capacity), normalCount: 2, nextPacketSize: 0,
      packetNumber: 1, zeroCount: 3, pageSize: pageSize)
    let page = UInt64(pageSize)
    func check(_ offsets: [UInt64], _ blockLength: UInt64) throws -> [UInt64] {
      var encoded = [UInt8](repeating: 0, count: MultiFDPacketHeader.size(pageSize: pageSize))
      encoded.withUnsafeMutableBytes { header in
        offsets.withUnsafeBufferPointer {
          packet.encode(into: header, blockName: "pc.ram", offsets: $0, pageSize: pageSize)
        }
      }
      var decoded = [UInt64](repeating: 7, count: capacity)
      try encoded.withUnsafeBytes { header in
        try decoded.withUnsafeMutableBufferPointer {
          try packet.decodeOffsets(from: header, into: $0, blockLength: blockLength, at: 1000)
        }
      }
      #expect(decoded.dropFirst(5).allSatisfy { $0 == 7 })
      return Array(decoded.prefix(5))
    }
    let good = [3 * page, 0, 9 * page, page, page]
    #expect(try check(good, 10 * page) == good)
    for (index, bad) in [
      (0, 10 * page), (1, 1), (2, page - 1), (3, UInt64.max - page + 1), (4, 1 << 63),
      (4, 9 * page + 8),
    ] {
      var offsets = good
      offsets[index] = bad
      let error = #expect(throws: WireError.self) { try check(offsets, 10 * page) }
      #expect(error?.code == .badOffset)
      #expect(error?.offset == UInt64(1320 + 8 * index))
      #expect(error?.message.contains("page \(index) ") == true)
    }
    // A block that is shorter than a page has none.
    #expect(throws: WireError.self) { try check([0, 0, 0, 0, 0], page - 1) }
    #expect(throws: WireError.self) { try check([0, 0, 0, 0, 0], 0) }
    #expect(try check([0, 0, 0, 0, 0], page) == [0, 0, 0, 0, 0])
  }

  @Test("A name that fills its field has no NUL")
  func longName() {
    header(name: String(repeating: "n", count: 256)).withUnsafeBytes {
      #expect(MultiFDPacketHeader.blockName(in: $0).count == 256)
    }
    header(name: "").withUnsafeBytes { #expect(MultiFDPacketHeader.blockName(in: $0).isEmpty) }
  }

  @Test("The init packet has the bytes that SPECIFICATION section 3.2 shows")
  func initPacket() throws {
    let shown = bytes("11223344 00000001") + .init(repeating: 0, count: 16) + [1]
    let whole = shown + .init(repeating: 0, count: 39)
    #expect(MultiFDInit(uuid: .zero, id: 1).encode() == whole)
    let uuid = try #require(VMUUID(bytes: 1...16))
    let other = MultiFDInit(uuid: uuid, id: 255)
    #expect(try other.encode().withUnsafeBytes { try MultiFDInit(decoding: $0) } == other)
    for (offset, code) in [(3, WireError.Code.badMagic), (7, .badVersion)] {
      var wrong = whole
      wrong[offset] = 0x55
      let error = wrong.withUnsafeBytes { bytes in
        #expect(throws: WireError.self) { try MultiFDInit(decoding: bytes, at: 10) }
      }
      #expect(error?.code == code)
      #expect(error?.offset == UInt64(10 + offset - 3))
    }
    let short = whole.prefix(63).withUnsafeBytes { bytes in
      #expect(throws: WireError.self) { try MultiFDInit(decoding: bytes) }
    }
    #expect(short?.code == .truncated)
  }

  @Test("Flags name at most one method")
  func flags() {
    for (method, name) in [
      (MultiFDMethod.none, "none"), (.zlib, "zlib"), (.zstd, "zstd"), (.qpl, "qpl"),
      (.uadk, "uadk"), (.qatzip, "qatzip"),
    ] {
      #expect(method.isKnown && method.name == name && MultiFDMethod(name: name) == method)
      var flags: MultiFDFlags = [.sync]
      flags.method = method
      #expect(flags.rawValue == method.rawValue | 1 && flags.method == method)
    }
    #expect(!MultiFDMethod(rawValue: 6).isKnown && MultiFDMethod(rawValue: 6).name == "0x6")
    #expect(MultiFDMethod(name: "lz4") == nil)
  }

  @Test("A device-state packet is decoded, and a wrong one refused")
  func deviceState() throws {
    func packet(_ name: String, size: UInt32, flags: UInt8 = 0x40) -> [UInt8] {
      var packet = bytes("11223344 00000001 000000") + [flags] + Array(name.utf8)
      packet += [UInt8](repeating: 0, count: 268 - packet.count) + [0, 0, 0, 9]
      return packet + (0..<4).map { UInt8(truncatingIfNeeded: size >> (24 - 8 * $0)) }
    }
    func decode(_ bytes: [UInt8]) throws -> DeviceStatePacketHeader {
      try bytes.withUnsafeBytes { try DeviceStatePacketHeader(decoding: $0, at: 0) }
    }
    let found = try decode(packet("0000:00:03.0/vfio", size: 5))
    #expect(found.name == "0000:00:03.0/vfio" && found.instance == 9 && found.dataSize == 5)
    func code(_ bytes: [UInt8]) -> WireError.Code? {
      #expect(throws: WireError.self) { try decode(bytes) }?.code
    }
    #expect(code(packet("", size: 5)) == .badName)
    #expect(code(packet(String(repeating: "n", count: 256), size: 5)) == .badName)
    #expect(code(packet("vfio", size: 0)) == .badLength)
    #expect(code(packet("vfio", size: 5, flags: 0x41)) == .unknownFlags)
    #expect(code(packet("vfio", size: 5, flags: 0x42)) == .unknownFlags)
    #expect(code(packet("vfio", size: 5).dropLast()) == .truncated)
    // In a channel its data follow it like a payload.
    let channel = MultiFDInit(uuid: .zero, id: 0).encode() + packet("0000:00:03.0/vfio", size: 5)
    var decoder = ChannelDecoder(maxPayload: 5)
    try channel.withUnsafeBytes { all in
      _ = try decoder.next(all)
      let rest = UnsafeRawBufferPointer(rebasing: all[64...])
      let step = try decoder.next(rest)
      #expect(step == .element(.deviceState(found), consumed: 276))
      #expect(decoder.rawBytesDue == 5)
    }
    let huge = MultiFDInit(uuid: .zero, id: 0).encode() + packet("vfio", size: 6)
    var strict = ChannelDecoder(maxPayload: 5)
    let error = huge.withUnsafeBytes { all in
      #expect(throws: WireError.self) { try strict.finish(remaining: all) }
    }
    #expect(error?.code == .limitExceeded)
  }
}
