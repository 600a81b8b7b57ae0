import Foundation
import Migration
import Roles
import SessionReplay
import TestSupport
import Testing
import Wire

@Suite("Streams that end too early", .beside)
struct TruncationTests {
  static let sessions = [
    "bios-72-zlib-2ch", "bios-100-none-2ch", "bios-111-zstd-2ch", "bios-100-main-only",
  ]

  @Test("The main channel", arguments: sessions)
  func main(name: String) throws {
    var generator = SeededGenerator(seed: 21)
    let session = try Tampered(name)
    let bytes = session.lines[0].bytes
    // With fewer bytes it is not known to be a source, and the reception waits for one: see
    // StrayTests.
    let first = try bytes.endOfConfiguration() + 1
    // By chance, and around the places where something begins: the very start, the last bytes.
    var cuts = (0..<6).map { _ in Int.random(in: first..<bytes.count, using: &generator) }
    cuts += [first, first + 1, bytes.count - 1]
    cuts.append(bytes.count - session.script.vmDescription.count - 1)
    for cut in cuts {
      var lines = session.lines
      lines[0] = Line(Array(bytes[..<cut]), end: .close)
      let reception = try Reception(lines) { $0.timeout = 0.5 }
      guard let failure = reception.failure() else {
        Issue.record("\(cut) of \(bytes.count) bytes")
        continue
      }
      #expect([.failed, .unreachable].contains(failure.kind), "\(cut): \(failure)")
      #expect(failure.what.contains("main channel"), "\(cut): \(failure)")
      #expect(reception.tree == [], "\(cut)")
    }
  }

  @Test("The main channel without a VM description is whole: a machine may not send one")
  func withoutDescription() throws {
    var session = try Tampered("bios-100-none-2ch", returnPath: false)
    session.lines[0].bytes.removeLast(session.script.vmDescription.count)
    let reception = try Reception(session.lines)
    guard case .success(let summary) = reception.result else { return _ = reception.failure() }
    #expect(summary.deviceState == session.script.deviceState.count)
  }

  @Test("A channel", arguments: sessions.dropLast())
  func channel(name: String) throws {
    var generator = SeededGenerator(seed: 22)
    let session = try Tampered(name)
    for _ in 0..<10 {
      let id = Int.random(in: 0..<2, using: &generator)
      let channel = session.script.channels[id]
      let cut = Int.random(in: 0..<channel.bytes.count, using: &generator)
      var lines = session.lines
      lines[id + 1] = Line(Array(channel.bytes[..<cut]), end: .close)
      let reception = try Reception(lines) {
        $0.timeout = 0.5
        $0.channels = 2
      }
      let syncs = channel.packets.count {
        $0.header.flags.contains(.sync) && $0.payload.upperBound <= cut
      }
      if syncs == session.script.markers
        && channel.packets.contains(where: { $0.payload.upperBound == cut })
      {
        // All that was due has come.
        try reception.expectHeld(session.script)
        continue
      }
      guard let failure = reception.failure() else {
        Issue.record("channel \(id), \(cut) of \(channel.bytes.count) bytes")
        continue
      }
      // Less than an init packet is nobody's connection: then the channel is one that is missing.
      #expect([.failed, .unreachable].contains(failure.kind), "\(cut): \(failure)")
      #expect(failure.what.contains("channel"), "\(cut): \(failure)")
      #expect(reception.tree == [], "\(cut)")
      #expect(reception.heard[0].messages.last == .shut(1), "\(cut)")
    }
  }
}
