import Foundation
import Migration
import Roles
import SessionReplay
import Store
import TestSupport
import Testing
import Wire

@Suite("Recorded primaries and the real standby", .beside)
struct RecordedSessionTests {
  static let sessions = Fixtures.sessions.filter(\.isCOLO)

  @Test(
    "It answers as the recorded secondary did, and holds the last checkpoint",
    arguments: sessions, Manifest.Cache.allCases)
  func whole(session: Fixtures.Session, cache: Manifest.Cache) throws {
    let script = try PrimaryScript(recorded: session)
    let last = script.checkpoints.count
    try #require(last >= 4)
    let standby = try StandbyProcess(cache: cache, tcp: cache == .mirror)
    let primary = try Primary(script, to: standby.uri, seed: 1)
    defer { primary.close() }
    try primary.play(upTo: last)
    // The recorded primary asks for one more checkpoint, and is killed.
    try primary.request()
    primary.close()
    let result = try standby.multifd.wait()
    #expect(result.code == 3, "\(result)")
    #expect(result.json["checkpoint"].int == last, "\(result)")
    #expect(result.errors.contains("hint: checkpoint \(last) is safe"), "\(result)")

    let recorded = try Fixtures.bytes(try #require(session.returnPath))
    #expect(Self.withoutAck(primary.answers).starts(with: Self.withoutAck(recorded)))

    let status = try StoreCheck.status(standby.store)
    #expect(status.code == 0, "\(status)")
    #expect(status.json["guest"].string == "standby")
    #expect(status.json["checkpoint"].int == last)
    #expect(status.json["activity"].string == "lost \(last)")
    #expect(status.json["in-use"].bool == false)
    try StoreCheck.expect(standby.store, holds: last, script)
  }

  /// What a stock secondary says may begin with switchover-ack, which depends on its own version.
  private static func withoutAck(_ answers: [UInt8]) -> ArraySlice<UInt8> {
    answers.starts(with: [0, 7, 0, 0]) ? answers.dropFirst(4) : answers[...]
  }

  @Test("It holds each checkpoint at which the primary may end", arguments: sessions)
  func prefixes(session: Fixtures.Session) throws {
    let script = try PrimaryScript(recorded: session)
    for last in 0..<script.checkpoints.count {
      for (index, cache) in Manifest.Cache.allCases.enumerated() where (last + index) % 2 == 0 {
        let standby = try LocalStandby(cache: cache)
        let primary = try Primary(script, to: standby.uri, seed: UInt64(last))
        defer { primary.close() }
        try primary.play(upTo: last)
        // Half of the next checkpoint is here already: it must leave no trace.
        try primary.request()
        var half = script.checkpoints[last]
        half.main.removeLast()
        try primary.send(half)
        primary.close()
        let outcome = try standby.outcome()
        #expect(outcome.cause.kind == .unreachable, "\(outcome.cause)")
        #expect(outcome.report.checkpoint == last)
        try StoreCheck.expect(standby.store, holds: last, script, "\(cache)")
      }
    }
  }

  @Test("What `multifd send` makes of the store is the guest, bit by bit", arguments: sessions)
  func handOver(session: Fixtures.Session) throws {
    let script = try PrimaryScript(recorded: session)
    let standby = try LocalStandby()
    let primary = try Primary(script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 3)
    primary.close()
    _ = try standby.outcome()
    let stream = try EasyDestination.receive(from: standby.store)
    let sent = try StreamScript(main: stream, channels: [])
    var model = try PageModel(sent)
    for step in sent.steps() { try model.apply(step) }
    for (block, pages) in script.image(3).enumerated() {
      #expect(PageModel.agree(pages, model.pages[block]), "\(sent.blocks[block].name)")
    }
    #expect(sent.deviceState == script.deviceStates[3])
  }
}
