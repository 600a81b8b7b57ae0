import Foundation
import Migration
import PluginLoader
import Roles
import SessionReplay
import System
import TestSupport
import Testing
import Transport
import Wire

/// Recorded sessions through relays into a reception: whatever is done with the pages on the way,
/// the guest that is held is the one that was sent.
@Suite("Relays pass recorded sessions on", .beside)
struct RecordedRelayTests {
  /// Of each dialect and method one; all of them come to receptions elsewhere.
  static let sessions = Fixtures.sessions.filter { session in
    ["bios-100-main-only", "bios-72-zlib-2ch", "bios-100-none-2ch", "bios-111-zstd-2ch"]
      .contains(session.name)
  }

  /// What the relays on the way are told, the first one next to the source.
  static let ways: [[String?]] = [
    [nil], ["lz4"], ["zstd,level=3"], ["auto"], ["auto=lz4,zlib"], ["lz4", nil], ["zlib", "lz4"],
    [nil, "zstd", nil],
  ]

  @Test("The guest is held whole, however it came", arguments: sessions, ways)
  func whole(session: Fixtures.Session, way: [String?]) throws {
    let session = try Tampered(session.name)
    let passed = try RelayedReception(session.lines, way)
    let summary = try passed.reception.get()
    try Reception.expectHeld(passed.store, session.script)
    #expect(summary.channels.map(\.id) == Array(0..<session.script.channels.count))
    for relay in passed.relays {
      let said = try #require(relay).get()
      #expect(said.result == "migrated")
      #expect(said.channels.map(\.id) == summary.channels.map(\.id))
      #expect(said.channels.map(\.normal) == summary.channels.map(\.normal))
      #expect(said.channels.allSatisfy { $0.syncs == UInt64(session.script.markers) })
    }
    // The source hears what the reception has said, through all of them.
    #expect(passed.heard[0].messages.last == .shut(0))
  }

  @Test("A channel that is long on its way is waited for", arguments: [[nil], [nil, "lz4", nil]])
  func late(way: [String?]) throws {
    let session = try Tampered("bios-111-zstd-2ch")
    var lines = session.lines
    // Its main channel goes through at once.
    lines[2].writeAfter = 0.3
    let passed = try RelayedReception(lines, way)
    #expect(try passed.reception.get().channels.map(\.id) == [0, 1])
    try Reception.expectHeld(passed.store, session.script)
  }

  @Test("What is slowed down comes in whole all the same")
  func slow() throws {
    let session = try Tampered("bios-111-zstd-2ch")
    let passed = try RelayedReception(session.lines, ["lz4"]) { $0.maxBandwidth = 4 << 20 }
    _ = try passed.reception.get()
    try Reception.expectHeld(passed.store, session.script)
    let said = try #require(passed.relays[0]).get()
    // The rate cannot have been higher, less what the last packets owe.
    #expect(Double(said.transferred) / (said.totalTime / 1000) < Double(6 << 20))
  }
}

/// What came of a reception that met a fake source behind relays.
struct RelayedReception {
  let reception: Result<ReceiveSummary, Failure>
  let relays: [Result<RelaySummary, Failure>?]
  let heard: [FakeSource.Heard]
  let store: String
  private let folder: TemporaryFolder

  init(
    _ lines: [Line], _ way: [String?], loader: PluginLoader = TestBackends.loader,
    configure: (inout RelayOptions) -> Void = { _ in }
  ) throws {
    folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    store = folder("store")
    var options = ReceiveOptions(listen: .tcp(host: "127.0.0.1", port: 0), store: store)
    options.timeout = 10
    var chain: [LocalRelay] = []
    var source: FakeSource?
    var trouble: (any Error)?
    /// Lets go of the receiver, and so of its sockets, when it returns.
    func run() -> Result<ReceiveSummary, Failure> {
      let receiver = Receiver(options, loader: loader)
      return Result { () throws(Failure) in
        try receiver.run { endpoint in
          do {
            var to = endpoint
            for compression in way.reversed() {
              chain.insert(
                try LocalRelay(
                  to: Destination(to, isLink: true), compression, loader: loader,
                  configure: configure), at: 0)
              to = chain[0].endpoint
            }
            source = FakeSource(lines, to: to)
          } catch {
            trouble = error
            receiver.cancel(.failed, "\(error)")
          }
        } onProgress: { _ in
        }
      }
    }
    reception = run()
    if let trouble { throw trouble }
    heard = source?.end() ?? []
    relays = chain.map { $0.end() }
  }
}
