import Foundation
import Memory
import Migration
import PluginAPI
import PluginLoader
import Roles
import SessionReplay
import Store
import TestSupport
import Testing
import Wire

/// Packets and records that no QEMU sends.
@Suite("Hostile streams", .beside)
struct HostileStreamTests {
  private func expectCorrupt(
    _ session: Tampered, _ words: String..., location: SourceLocation = #_sourceLocation
  ) throws {
    let reception = try Reception(session.lines)
    guard let failure = reception.failure(location) else { return }
    reception.expectFailure(.corrupt, location: location)
    for word in words {
      #expect(failure.description.contains(word), "\(failure)", sourceLocation: location)
    }
    #expect(reception.heard[0].messages.last == .shut(1), sourceLocation: location)
  }

  @Test(
    "A header that cannot be",
    arguments: [
      (0, 0x1122_3345, "magic"), (4, 9, "version"), (8, 0x8000_0000, "flags"), (8, 6, "flags"),
      (12, 129, "pages_alloc"), (16, 129, "normal_pages"), (16, 0xffff_ffff, "normal_pages"),
      (32, 0xffff_ffff, "zero_pages"),
    ] as [(Int, UInt32, String)])
  func header(field: Int, value: UInt32, word: String) throws {
    var session = try Tampered("bios-111-zlib-2ch")
    let (number, at) = try session.script.channels[1].first { $0.normal.count > 0 }
    session.channel(1) { $0.patch(at + field, value) }
    try expectCorrupt(
      session, "channel 1, packet \(number), byte \(at)", "at byte \(at + field)", word)
  }

  @Test("A RAM block that is not there")
  func unknownBlock() throws {
    var session = try Tampered("bios-100-zlib-2ch")
    let (number, at) = try session.script.channels[0].first { $0.normal.count > 0 }
    session.channel(0) { $0.patch(at + 64, Array("pc.rom2\0".utf8)) }
    try expectCorrupt(session, "channel 0, packet \(number)", "no RAM block 'pc.rom2'")
    session.channel(0) { $0.patch(at + 64, [UInt8](repeating: 0x41, count: 256)) }
    try expectCorrupt(session, "channel 0, packet \(number)", "no RAM block 'AAA")
    session.channel(0) { $0.patch(at + 64, [0]) }
    try expectCorrupt(session, "channel 0, packet \(number)", "no RAM block ''")
  }

  @Test(
    "An offset that is no page of its block",
    arguments: [32 << 20, 1, 0xfff, (32 << 20) - 1, .max, .max << 12, 1 << 63] as [UInt64])
  func offset(offset: UInt64) throws {
    for name in ["bios-111-none-2ch", "bios-111-zstd-2ch"] {
      var session = try Tampered(name)
      let (number, at) = try session.script.channels[0].first {
        $0.normal.count > 1 && session.script.blocks[$0.block].name == "pc.ram"
      }
      session.channel(0) { $0.patch(at + 328, offset) }
      try expectCorrupt(session, "channel 0, packet \(number)", "badOffset at byte \(at + 328)")
    }
    // A zero page's offset is looked at like any other.
    var session = try Tampered("bios-111-none-2ch")
    let (_, at) = try session.script.channels[0].first {
      $0.normal.isEmpty && !$0.zero.isEmpty && session.script.blocks[$0.block].name == "pc.ram"
    }
    session.channel(0) { $0.patch(at + 320, offset) }
    try expectCorrupt(session, "badOffset at byte \(at + 320)")
  }

  @Test("The same on the main channel")
  func mainOffset() throws {
    var session = try Tampered("bios-100-main-only")
    // The first page record: its word has an offset and flag 8, then the block's name.
    let name = Array("pc.ram".utf8)
    let at = try #require(
      session.lines[0].bytes.indices.first { index in
        session.lines[0].bytes[index...].starts(with: [0, 0, 0, 0, 0, 0, 0, 8, 6] + name)
      })
    session.lines[0].bytes.patch(at, UInt64(32 << 20 | 8))
    try expectCorrupt(session, "main channel, byte \(at)", "badOffset at byte \(at)")
    session.lines[0].bytes.patch(at, UInt64(8))
    session.lines[0].bytes.patch(at + 9, Array("pc.rum".utf8))
    try expectCorrupt(session, "main channel, byte \(at)", "pc.rum")
  }

  @Test("The same page many times in one packet is a page like any other")
  func repeatedPage() throws {
    var session = try Tampered("bios-111-none-2ch")
    let (_, at) = try session.script.channels[0].first { $0.normal.count > 2 }
    session.channel(0) { bytes in
      bytes.patch(at + 328, Array(bytes[at + 320..<at + 328]))
    }
    let reception = try Reception(session.lines)
    guard case .success = reception.result else { return _ = reception.failure() }
  }

  // MARK: Payloads

  @Test(
    "A payload's size that cannot be",
    arguments: [0, (1 << 20) + 1, 0x7fff_ffff, 0xffff_ffff] as [UInt32])
  func payloadSize(size: UInt32) throws {
    for name in ["bios-111-zlib-2ch", "bios-100-zstd-2ch", "bios-72-zlib-2ch"] {
      var session = try Tampered(name)
      let (number, at) = try session.script.channels[0].first { $0.normal.count > 0 }
      session.channel(0) { $0.patch(at + 20, size) }
      try expectCorrupt(
        session, "channel 0, packet \(number), byte \(at)", "payload of \(size) bytes",
        "at byte \(at + 20)")
    }
  }

  @Test("A payload of many pages where one is claimed", arguments: ["zlib", "zstd"])
  func bomb(method: String) throws {
    // 128 pages that compress to next to nothing.
    var session = try Tampered("bios-111-\(method)-2ch")
    let payload = try compress(method, pages: 128)
    let (number, at) = try session.script.channels[0].first { $0.normal.count > 0 }
    let packet = session.script.channels[0].packets[number - 1]
    session.channel(0) { bytes in
      bytes.replaceSubrange(packet.payload, with: payload)
      bytes.patch(at + 16, UInt32(1))
      bytes.patch(at + 20, UInt32(payload.count))
      bytes.patch(at + 32, UInt32(0))
    }
    try expectCorrupt(session, "channel 0, packet \(number)")
  }

  @Test("A payload of one page where many are claimed", arguments: ["zlib", "zstd"])
  func shortPayload(method: String) throws {
    var session = try Tampered("bios-111-\(method)-2ch")
    let payload = try compress(method, pages: 1)
    let (number, at) = try session.script.channels[0].first { $0.normal.count > 1 }
    let packet = session.script.channels[0].packets[number - 1]
    session.channel(0) { bytes in
      bytes.replaceSubrange(packet.payload, with: payload)
      bytes.patch(at + 20, UInt32(payload.count))
    }
    try expectCorrupt(session, "channel 0, packet \(number)")
  }

  @Test("A payload with a byte turned over", arguments: ["zlib", "zstd"])
  func damaged(method: String) throws {
    var generator = SeededGenerator(seed: 6)
    var failures = 0
    for _ in 0..<6 {
      var session = try Tampered("bios-111-\(method)-2ch")
      let packets = session.script.channels[0].packets.filter { $0.normal.count > 0 }
      let packet = try #require(packets.randomElement(using: &generator))
      let place = Int.random(in: packet.payload, using: &generator)
      session.channel(0) { $0[place] ^= 0x55 }
      let reception = try Reception(session.lines)
      // Not every damage can be seen in a stream without a checksum.
      if case .failure(let failure) = reception.result {
        failures += 1
        #expect(failure.kind == .corrupt, "\(failure)")
        #expect(failure.what.contains("channel 0"), "\(failure)")
        #expect(reception.tree == [])
      }
    }
    #expect(failures > 0)
  }

  @Test("Another method in the middle of a channel, or on one of the channels")
  func changingMethod() throws {
    var session = try Tampered("bios-111-zlib-2ch")
    let packets = session.script.channels[0].packets.enumerated().filter { $1.normal.count > 0 }
    let (index, packet) = try #require(packets.dropFirst().first)
    session.channel(0) { $0.patch(packet.range.lowerBound + 8, UInt32(4)) }
    try expectCorrupt(session, "channel 0, packet \(index + 1)", "zstd")

    var mixed = try Tampered("bios-111-zlib-2ch")
    mixed.lines[2].bytes = try Fixtures.bytes(
      #require(Fixtures.session("bios-111-zstd-2ch")).sourceFiles[2])
    let reception = try Reception(mixed.lines)
    reception.expectFailure(.refused, "multifd-compression")
  }

  /// A payload by the backend's own send side, as the first packet of a channel.
  private func compress(_ name: String, pages: Int) throws -> [UInt8] {
    let backend = try TestBackends.loader.load(named: name)
    let sender = try backend.makeSender(
      id: 0, channels: 1, pageSize: 4096, pageCount: 128, options: try backend.parse([]),
      inputMayChange: false)
    let memory = try RAMBlock(memfd: "pages", length: 128 * 4096, pageSize: 4096)
    try memory.reserve(pageAt: 0)
    memset(memory.base, 0x21, memory.length)
    let offsets = (0..<pages).map { UInt64($0 * 4096) }
    return try offsets.withUnsafeBufferPointer { normal in
      let payload = try sender.prepare(
        host: memory.base, normal: normal, zero: UnsafeBufferPointer(start: nil, count: 0),
        flags: backend.qemuMethod ?? 0, packetNumber: 1)
      // Valid until the next prepare: copied here.
      return payload.iov.flatMap {
        Array(UnsafeRawBufferPointer(start: $0.iov_base, count: $0.iov_len))
      }
    }
  }
}
