import Glibc
import Migration
import PluginLoader
import SessionReplay
import System
import TestSupport
import Testing
import Transport
import Wire

@Suite("Packets that go on")
struct PacketWriterTests {
  /// A packet's header as it lies on the wire, without pages that follow.
  private func header(
    flags: MultiFDFlags, normal: Int, zero: Int, size: Int, name: [UInt8] = Array("pc.ram".utf8)
  ) -> [UInt8] {
    let fields = MultiFDPacketHeader(
      flags: flags, pagesAllocated: UInt32(normal + zero), normalCount: UInt32(normal),
      nextPacketSize: UInt32(size), packetNumber: 7, zeroCount: UInt32(zero))
    var bytes = [UInt8](repeating: 0, count: MultiFDPacketHeader.size(pageSize: 4096))
    let offsets = (0..<normal + zero).map { UInt64($0) * 4096 }
    offsets.withUnsafeBufferPointer { offsets in
      bytes.withUnsafeMutableBytes {
        fields.encode(into: $0, blockName: "", offsets: offsets, pageSize: 4096)
      }
    }
    bytes.replaceSubrange(64..<64 + name.count, with: name)
    return bytes
  }

  /// What a writer with a backend makes of a channel of `source` bytes, or what it throws.
  private func passOn(_ source: [UInt8], through backend: String) throws -> [UInt8] {
    let loader = TestBackends.loader
    let (listener, port) = try Sockets.listen()
    defer { close(listener) }
    let out = try Socket.connect(
      to: .tcp(host: "127.0.0.1", port: UInt16(port)), timeout: 10)
    let far = Sockets.accept(listener)
    defer { close(far) }
    let hello = MultiFDInit(uuid: .zero, id: 3).encode()
    let heard = System.Monitor<[UInt8]>([])
    let threads = ThreadGroup()
    try threads.start("far side") {
      var bytes = [UInt8](repeating: 0, count: 1 << 16)
      while case let count = Sockets.read(far, &bytes), count > 0 {
        heard.update { $0 += bytes[..<count] }
      }
    }
    defer { threads.joinAll() }
    defer { out.cut() }
    try (hello + source).withUnsafeBytes { bytes in
      let reader = PacketReader(
        .recording(bytes), pageSize: 4096, backends: try BackendChoice(loader, nil))
      defer { reader.close() }
      let encoder = try PacketEncoder(
        OutgoingFormat(forQEMU: CompressionSpec(parsing: backend), pageSize: 4096, loader), id: 3,
        channels: 4, pageSize: 4096, verify: true)
      let writer = PacketWriter(out, pageSize: 4096)
      try writer.begin(try reader.begin())
      var packet = Packet(pageSize: 4096)
      let scratch = ScratchPages(pageSize: 4096)
      while try reader.next(&packet, into: scratch) {
        try writer.write(packet, with: encoder)
      }
    }
    out.finishWriting()
    threads.joinAll()
    return heard.read { $0 }
  }

  @Test("The other format's method is on packets with pages, zero ones too, and on no other")
  func methods() throws {
    let pages = [UInt8](repeating: 0x5a, count: 2 * 4096)
    let source =
      header(flags: [], normal: 2, zero: 1, size: pages.count) + pages
      + header(flags: [], normal: 0, zero: 3, size: 0)
      + header(flags: .sync, normal: 0, zero: 0, size: 0)
      + header(flags: .sync, normal: 1, zero: 0, size: 4096) + pages.prefix(4096)
    #expect(try passOn(source, through: "nocomp").dropFirst(64) == source[...])
    let zstd = try passOn(source, through: "zstd")
    var found: [(flags: UInt32, normal: UInt32, zero: UInt32)] = []
    try zstd.withUnsafeBytes { bytes in
      let reader = PacketReader(.recording(bytes), pageSize: 4096)
      #expect(try reader.begin().id == 3)
      var packet = Packet(pageSize: 4096)
      while try reader.next(&packet) {
        let header = packet.header
        found.append((header.flags.rawValue, header.normalCount, header.zeroCount))
        #expect(try reader.skip())
      }
    }
    #expect(found.map(\.flags) == [4, 4, 1, 5])
    #expect(found.map(\.normal) == [2, 0, 0, 1] && found.map(\.zero) == [1, 3, 0, 0])
    // And it is the same pages again.
    #expect(try passOn(Array(zstd.dropFirst(64)), through: "nocomp").dropFirst(64) == source[...])
  }

  @Test("A name without end is refused, with pages and without", arguments: [0, 1])
  func name(pages: Int) throws {
    let name = [UInt8](repeating: 0x41, count: 256)
    let source =
      header(flags: .sync, normal: pages, zero: 0, size: pages * 4096, name: name)
      + [UInt8](repeating: 1, count: pages * 4096)
    let error = #expect(throws: WireError.self) { try passOn(source, through: "nocomp") }
    #expect([.badName, .unknownBlock].contains(error?.code), "\(error!)")
  }
}
