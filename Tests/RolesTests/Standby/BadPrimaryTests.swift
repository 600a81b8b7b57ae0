import Foundation
import Migration
import Roles
import SessionReplay
import Store
import TestSupport
import Testing
import Wire

/// A primary that says what it must not: a clear error, the right exit code, and the last
/// checkpoint as it was.
@Suite("A primary that does wrong", .beside)
struct BadPrimaryTests {
  static let script = SyntheticGuest.script(seed: 30, checkpoints: 4, pages: [200, 9])
  static let plain = SyntheticGuest.script(.plain, seed: 31, checkpoints: 4, pages: [200, 9])

  /// What it says instead of its third checkpoint.
  struct Wrong: Sendable, CustomStringConvertible {
    let description: String
    let kind: Failure.Kind
    /// A part of the error.
    let says: String
    var script = BadPrimaryTests.script
    let send: @Sendable (Primary, PrimaryScript.Burst) throws -> Void
  }

  @Test("The last checkpoint is intact, the error clear", arguments: wrongs)
  func wrong(_ wrong: Wrong) throws {
    for cache in Manifest.Cache.allCases {
      let standby = try LocalStandby(cache: cache) {
        // Long enough for a machine that stands still for a moment.
        $0.timeout = wrong.kind == .unreachable ? 2 : 10
      }
      let primary = try Primary(wrong.script, to: standby.uri)
      defer { primary.close() }
      try primary.play(upTo: 2)
      // The standby may cut the connection before all has been said.
      do { try wrong.send(primary, wrong.script.checkpoints[2]) } catch Primary.Ended.standbyGone {}
      // Nothing is acknowledged: the connection ends without a word, and the primary can go on
      // alone.
      #expect(primary.readToEnd() == [], "\(wrong), \(cache)")
      let outcome = try standby.outcome()
      #expect(outcome.cause.kind == wrong.kind, "\(wrong), \(cache): \(outcome.cause)")
      #expect("\(outcome.cause)".contains(wrong.says), "\(wrong), \(cache): \(outcome.cause)")
      // It lives: nobody may start a second copy by himself.
      #expect(!outcome.cause.peerIsGone, "\(wrong), \(cache): \(outcome.cause)")
      try StoreCheck.expect(standby.store, holds: 2, wrong.script, "\(wrong), \(cache)")
    }
  }

  static let wrongs: [Wrong] =
    [
      Wrong(description: "device state shorter than announced", kind: .unreachable, says: "silent")
      {
        try $0.request()
        var burst = $1
        burst.main.removeLast(40)
        try $0.send(burst)
      },
      Wrong(description: "announced longer than it is", kind: .unreachable, says: "silent") {
        try $0.request()
        try $0.send(Self.resized($1, by: 1))
      },
      Wrong(
        description: "announced longer, the next request fills it", kind: .corrupt,
        says: "device state"
      ) {
        try $0.request()
        try $0.send(Self.resized($1, by: 4))
        try $0.send(main: COLOMessage.checkpointRequest.encode())
      },
      Wrong(
        description: "announced a byte shorter than it is", kind: .corrupt, says: "device state"
      ) {
        try $0.request()
        try $0.send(Self.resized($1, by: -1))
      },
      Wrong(
        description: "announced shorter, and a zero byte is its last", kind: .corrupt,
        says: "device state"
      ) {
        try $0.request()
        let (start, size) = try Self.blob($1)
        // The last zero byte before the closing one.
        let zero = try #require($1.main[start..<start + size - 1].lastIndex(of: 0))
        try $0.send(Self.resized($1, by: zero + 1 - start - size))
      },
      Wrong(description: "device state without end", kind: .refused, says: "are allowed") {
        try $0.request()
        var burst = $1
        let (start, _) = try Self.blob(burst)
        burst.main.replaceSubrange(start - 8..<start, with: [0, 0, 0, 1, 0, 0, 0, 0])
        try $0.send(burst)
      },
      Wrong(description: "no device state", kind: .corrupt, says: "without device state") {
        try $0.request()
        var burst = $1
        let (start, _) = try Self.blob(burst)
        burst.main.replaceSubrange(start - 8..<start, with: [0, 0, 0, 0, 0, 0, 0, 0])
        try $0.send(burst)
      },
      Wrong(
        description: "a page beyond the end of its block", kind: .corrupt, says: "offset 0xc8000"
      ) { primary, _ in
        try primary.request()
        try primary.send(Self.packet(normal: [200 * 4096]))
      },
      Wrong(description: "a page that is none", kind: .corrupt, says: "offset 0x801") {
        primary, _ in
        try primary.request()
        try primary.send(Self.packet(normal: [0x801]))
      },
      Wrong(
        description: "a zero page far beyond", kind: .corrupt, says: "offset 0xfffffffffffff000"
      ) { primary, _ in
        try primary.request()
        try primary.send(Self.packet(zero: [0xffff_ffff_ffff_f000]))
      },
      Wrong(description: "a page of no block", kind: .corrupt, says: "no RAM block 'vga.vram'") {
        primary, _ in
        try primary.request()
        try primary.send(Self.packet(normal: [0], block: "vga.vram"))
      },
      Wrong(description: "a packet with too many pages", kind: .corrupt, says: "pages_alloc 129") {
        primary, _ in
        try primary.request()
        try primary.send(Self.packet(normal: [0], allocated: 129))
      },
      Wrong(
        description: "a plain page beyond the end of its block", kind: .corrupt,
        says: "offset 0xc8000", script: plain
      ) { primary, _ in
        try primary.request()
        try primary.send(main: Self.page(offset: 200 * 4096))
      },
      Wrong(
        description: "a plain page of no block", kind: .corrupt, says: "vga.vram", script: plain
      ) { primary, _ in
        try primary.request()
        try primary.send(main: Self.page(offset: 0, block: "vga.vram"))
      },
      Wrong(description: "fewer SYNCs than markers", kind: .unreachable, says: "channel 1") {
        try $0.request()
        var burst = $1
        burst.channels[1].removeLast(MultiFDPacketHeader.size(pageSize: 4096))
        try $0.send(burst)
      },
      Wrong(description: "more SYNCs than markers", kind: .corrupt, says: "more SYNCs") {
        try $0.request()
        var burst = $1
        let next = BadPrimaryTests.script.checkpoints[3]
        for channel in burst.channels.indices { burst.channels[channel] += next.channels[channel] }
        try $0.send(PrimaryScript.Burst(channels: burst.channels))
        // A channel stops at the end of an epoch: what is behind it is read when main has come
        // there, too.
        let (start, size) = try Self.blob(burst)
        try $0.send(main: Array(burst.main[..<start]))
        Thread.sleep(forTimeInterval: 0.2)
        try $0.send(main: Array(burst.main[start..<start + size]))
      },
      Wrong(
        description: "pages before the checkpoint is asked for", kind: .corrupt,
        says: "outside of a checkpoint"
      ) { primary, _ in
        try primary.send(PrimaryScript.Burst(channels: Self.packet(normal: [0]).channels))
      },
      Wrong(
        description: "pages after the last SYNC", kind: .corrupt, says: "after the last SYNC"
      ) {
        try $0.request()
        let (start, size) = try Self.blob($1)
        var burst = PrimaryScript.Burst(
          main: Array($1.main[..<start]), channels: $1.channels)
        burst.channels[0] += Self.packet(normal: [0]).channels[0]
        try $0.send(burst)
        // The pages come in before the devices do.
        Thread.sleep(forTimeInterval: 0.2)
        try $0.send(main: Array($1.main[start..<start + size]))
      },
      Wrong(description: "another compression than before", kind: .corrupt, says: "compression") {
        primary, _ in
        try primary.request()
        try primary.send(Self.packet(normal: [0], flags: MultiFDFlags(rawValue: 4)))
      },
      Wrong(description: "a second REQUEST", kind: .corrupt, says: "checkpointRequest") {
        try $0.request()
        try $0.send(main: COLOMessage.checkpointRequest.encode() + $1.main)
      },
      Wrong(description: "VMSTATE_SEND without a REQUEST", kind: .corrupt, says: "vmstateSend") {
        try $0.send(main: $1.main)
      },
      Wrong(description: "VMSTATE_SIZE before the RAM", kind: .corrupt, says: "EOF before") {
        primary, _ in
        try primary.request()
        try primary.send(
          main: COLOMessage.vmstateSend.encode() + COLOMessage.vmstateSize.encode()
            + [0, 0, 0, 0, 0, 0, 0, 1, 0])
      },
      Wrong(description: "no message", kind: .corrupt, says: "0 to 6") { primary, _ in
        try primary.send(main: [0, 0, 0, 7])
      },
      Wrong(
        description: "a migration's section between checkpoints", kind: .corrupt,
        says: "COLO message"
      ) {
        primary, _ in try primary.send(main: [1, 0, 0, 0])
      },
      Wrong(description: "silence after REQUEST", kind: .unreachable, says: "silent") {
        primary, _ in
        try primary.request()
      },
      Wrong(description: "silence inside a message", kind: .unreachable, says: "silent") {
        primary, _ in
        try primary.send(main: [0, 0])
      },
      Wrong(description: "silence inside a packet", kind: .unreachable, says: "silent") {
        try $0.request()
        var burst = $1
        let count = burst.channels[0].count
        burst.channels[0].removeLast(count / 2 + 7)
        try $0.send(burst)
      },
    ]
    // What a secondary says, a primary may not.
    + [
      COLOMessage.checkpointReady, .checkpointReply, .vmstateReceived, .vmstateLoaded,
    ].map { message in
      Wrong(description: "\(message)", kind: .corrupt, says: "\(message)") { primary, _ in
        try primary.send(main: message.encode())
      }
    }
}
