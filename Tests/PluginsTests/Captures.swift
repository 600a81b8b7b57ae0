import Foundation

/// A packet of a recorded multifd channel, as far as a backend is concerned.
struct RecordedPacket {
  /// The method bits of its flags.
  let method: UInt32
  let block: String
  let offsets: [UInt64]
  let payload: [UInt8]
}

/// A channel between two stock QEMUs, recorded on the wire.
///
/// This walks the packets by SPECIFICATION section 3.3 and no further, so that the backends are
/// tested without the project's own parser; a malformed recording traps.
struct RecordedChannel: Sendable {
  private static let initSize = 64
  private static let headerSize = 1344
  private static let methods: UInt32 = 0x3e

  let packets: [RecordedPacket]

  /// Channel `number` (from 1; 0 is the main channel) of a recorded session.
  init(session: String, number: Int) throws {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("Fixtures/captures/\(session)")
    let bytes = try [UInt8](Data(contentsOf: folder.appendingPathComponent("conn\(number).c2s")))
    func word(_ at: Int) -> UInt32 { bytes[at..<at + 4].reduce(0) { $0 << 8 | UInt32($1) } }
    func long(_ at: Int) -> UInt64 { bytes[at..<at + 8].reduce(0) { $0 << 8 | UInt64($1) } }

    var packets: [RecordedPacket] = []
    var at = Self.initSize
    while at < bytes.count {
      precondition(word(at) == 0x1122_3344)
      let flags = word(at + 8)
      let normal = Int(word(at + 16))
      let name = bytes[at + 64..<at + 320].prefix { $0 != 0 }
      let offsets = (0..<normal).map { long(at + 320 + 8 * $0) }
      // A 7.2 leaves the last packet's size in one without pages, which has no payload.
      let isPlain = flags & Self.methods == 0
      let size = normal == 0 ? 0 : isPlain ? normal * 4096 : Int(word(at + 20))
      at += Self.headerSize
      packets.append(
        RecordedPacket(
          method: flags & Self.methods, block: String(decoding: name, as: UTF8.self),
          offsets: offsets, payload: Array(bytes[at..<at + size])))
      at += size
    }
    precondition(at == bytes.count)
    self.packets = packets
  }
}
