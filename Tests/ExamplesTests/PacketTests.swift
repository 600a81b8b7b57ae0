import Foundation
import PluginAPI
import PluginLoader
import TestSupport
import Testing
import Wire

extension ExamplesTests {
  /// Payloads go from one backend to another.
  @Suite("Payloads of one wire format")
  struct PacketTests {
    static let pairs = Example.rle.flatMap { a in Example.rle.map { b in (a, b) } }

    private func backend(_ example: Example) throws -> Backend {
      let library = try Built.shared.library(example)
      let folder = URL(filePath: library).deletingLastPathComponent().path
      return try loader(folder).load(named: example.rawValue)
    }

    private func loader(_ folder: String) -> PluginLoader {
      PluginLoader(
        searchPath: PluginSearchPath(explicit: [folder], environment: [:], executable: ""))
    }

    /// Sends a stream of packets from one to the other.
    private func exchange(
      from sender: Backend, _ options: String = "", to receiver: Backend, seed: UInt64
    ) throws {
      var random = SeededGenerator(seed: seed)
      let ram = try Memory(pages: 192), back = try Memory(pages: 192)
      let send = try sender.makeSender(
        id: 0, channels: 1, pageSize: 4096, pageCount: 128,
        options: sender.parse(CompressionSpec(parsing: sender.name + options)))
      let source = PayloadBytes()
      let receive = try receiver.makeReceiver(
        id: 0, channels: 1, pageSize: 4096, pageCount: 128, options: receiver.parse([]),
        source: source)
      for packet in 0..<30 {
        ram.fill(using: &random)
        let all = (0..<192).map { UInt64($0 * 4096) }
        let count = packet % 5 == 0 ? Int.random(in: 1...127, using: &random) : 128
        let offsets = Array(all.shuffled(using: &random).prefix(count))
        source.bytes = try send.payload(ram, offsets, packet: UInt64(packet))
        try receive.take(source, back, offsets, packet: UInt64(packet))
        for offset in offsets {
          try #require(
            ram.page(offset) == back.page(offset),
            "\(sender.name) to \(receiver.name), packet \(packet), page \(offset)")
        }
      }
    }

    @Test("rle/1: each of the four decodes what each of them encodes", arguments: pairs)
    func rle(_ sender: Example, _ receiver: Example) throws {
      try exchange(from: backend(sender), to: backend(receiver), seed: 1)
    }

    @Test("zlib/1: igzip decodes zlib, zlib decodes igzip, at every level", arguments: 0...3)
    func zlib(level: Int) throws {
      let igzip = try backend(.igzip)
      let zlib = try loader(Lab.executableFolder).load(named: "zlib")
      #expect(igzip.wireFormat == zlib.wireFormat)
      try exchange(from: igzip, ",level=\(level)", to: zlib, seed: 2)
      try exchange(from: igzip, ",level=\(level)", to: igzip, seed: 3)
      try exchange(from: zlib, ",level=\(level * 3)", to: igzip, seed: 4)
    }

    /// The recorded sessions of stock QEMUs with multifd-compression=zlib.
    static let sessions = Fixtures.sessions.filter { $0.name.contains("-zlib-") }

    @Test("igzip decodes what stock QEMUs have sent", arguments: sessions)
    func recorded(_ session: Fixtures.Session) throws {
      let igzip = try backend(.igzip)
      let zlib = try loader(Lab.executableFolder).load(named: "zlib")
      var pages = 0
      for file in session.channels {
        let (ours, theirs) = (PayloadBytes(), PayloadBytes())
        let receivers = try [(igzip, ours), (zlib, theirs)].map { backend, source in
          try backend.makeReceiver(
            id: 0, channels: 1, pageSize: 4096, pageCount: 128, options: backend.parse([]),
            source: source)
        }
        for (number, packet) in try RecordedPayload.all(file).enumerated() {
          let offsets = (0..<packet.pages).map { UInt64($0 * 4096) }
          let a = try Memory(pages: 128), b = try Memory(pages: 128)
          (ours.bytes, theirs.bytes) = (packet.payload, packet.payload)
          try receivers[0].take(ours, a, offsets, packet: UInt64(number))
          try receivers[1].take(theirs, b, offsets, packet: UInt64(number))
          try #require(offsets.allSatisfy { a.page($0) == b.page($0) }, "packet \(number)")
          pages += packet.pages
        }
      }
      #expect(pages > 0)
    }
  }
}

/// The payload of a recorded packet.
struct RecordedPayload {
  let pages: Int
  let payload: [UInt8]

  /// All packets with pages of a recorded channel.
  static func all(_ file: URL) throws -> [RecordedPayload] {
    let bytes = try Fixtures.bytes(file)
    var decoder = ChannelDecoder(), packets: [RecordedPayload] = [], at = 0
    try bytes.withUnsafeBytes { bytes in
      while case .element(let element, let consumed) = try decoder.next(
        UnsafeRawBufferPointer(rebasing: bytes[at...]))
      {
        at += consumed
        guard case .packet(let header, let size) = element else { continue }
        try #require(at + size <= bytes.count)
        if header.normalCount > 0 {
          packets.append(
            RecordedPayload(pages: Int(header.normalCount), payload: Array(bytes[at..<at + size])))
        }
        decoder.didTake(size)
        at += size
      }
    }
    return packets
  }
}
