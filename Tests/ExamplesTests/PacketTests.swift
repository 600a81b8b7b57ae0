import Foundation
import PluginLoader
import TestSupport
import Testing

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
      from sender: Backend, to receiver: Backend, seed: UInt64
    ) throws {
      var random = SeededGenerator(seed: seed)
      let ram = try Memory(pages: 192), back = try Memory(pages: 192)
      let send = try sender.makeSender(
        id: 0, channels: 1, pageSize: 4096, pageCount: 128,
        options: sender.parse([]))
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
          try hold(
            memcmp(ram.base + Int(offset), back.base + Int(offset), 4096) == 0,
            "\(sender.name) to \(receiver.name), packet \(packet), page \(offset)")
        }
      }
    }

    @Test("rle/1: each of the four decodes what each of them encodes", arguments: pairs)
    func rle(_ sender: Example, _ receiver: Example) throws {
      try exchange(from: backend(sender), to: backend(receiver), seed: 1)
    }
  }
}
