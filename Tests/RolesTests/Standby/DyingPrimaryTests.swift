import Foundation
import Migration
import Roles
import SessionReplay
import Store
import TestSupport
import Testing

@Suite("The primary dies", .beside)
struct DyingPrimaryTests {
  @Test(
    "At any byte of any connection: the last complete checkpoint is there",
    arguments: Manifest.Cache.allCases, SyntheticGuest.Style.all)
  func anyByte(cache: Manifest.Cache, style: SyntheticGuest.Style) throws {
    let script = SyntheticGuest.script(style, seed: 9, checkpoints: 6, pages: [250, 9, 1])
    var generator = SeededGenerator(seed: 4)
    for round in 0..<Soak.rounds(17) {
      let connection = Int.random(in: 0...style.channels, using: &generator)
      // Mostly in checkpoints, sometimes in precopy.
      let first = round % 6 == 0 ? 0 : script.length(of: connection, upTo: 0)
      let last = script.length(of: connection, upTo: 6)
      try expectSafe(
        script, cache,
        Primary.Death(
          connection: connection, after: Int.random(in: first..<last, using: &generator)),
        round)
    }
  }

  @Test(
    "At every boundary of a checkpoint, and a byte before and after",
    arguments: Manifest.Cache.allCases, [SyntheticGuest.Style.plain, SyntheticGuest.Style()])
  func boundaries(cache: Manifest.Cache, style: SyntheticGuest.Style) throws {
    let script = SyntheticGuest.script(style, seed: 10, checkpoints: 2, pages: [60])
    for checkpoint in 0...2 {
      let end = script.length(of: 0, upTo: checkpoint)
      for offset in -1...5 where end + offset < script.length(of: 0, upTo: 2) + 1 {
        try expectSafe(
          script, cache, Primary.Death(connection: 0, after: end + offset), offset + 1)
      }
    }
  }

  @Test("A recorded primary, at any byte", arguments: RecordedSessionTests.sessions)
  func recorded(session: Fixtures.Session) throws {
    let script = try PrimaryScript(recorded: session)
    var generator = SeededGenerator(seed: 12)
    for round in 0..<Soak.rounds(4) {
      let connection = Int.random(in: 0...script.channelCount, using: &generator)
      let range =
        script.length(
          of: connection, upTo: 0)..<script.length(
          of: connection, upTo: script.checkpoints.count)
      guard !range.isEmpty else { continue }
      try expectSafe(
        script, round % 2 == 0 ? .sparse : .mirror,
        Primary.Death(connection: connection, after: Int.random(in: range, using: &generator)),
        round)
    }
  }

  private func expectSafe(
    _ script: PrimaryScript, _ cache: Manifest.Cache, _ death: Primary.Death, _ round: Int
  ) throws {
    let what: Comment = "\(cache), connection \(death.connection), byte \(death.after)"
    // A channel that comes and dies before the main channel has said a word: the standby waits for
    // that one.
    let isEarly = death.after < script.length(of: death.connection, upTo: 0)
    let standby = try LocalStandby(cache: cache) { if isEarly { $0.timeout = 2 } }
    let primary = try Primary(script, to: standby.uri, death: death, seed: UInt64(round))
    defer { primary.close() }
    do { try primary.play(upTo: script.checkpoints.count) } catch Primary.Ended.died {
    } catch Primary.Ended.standbyGone where isEarly {}
    primary.close()
    guard let acknowledged = primary.acknowledged else {
      return try expectNothingOrPrecopy(standby, script, what)
    }
    let outcome = try standby.outcome()
    #expect(outcome.cause.kind == .unreachable, "\(what): \(outcome.cause)")
    let found = outcome.report.checkpoint
    // The whole of a checkpoint may have been sent by a primary that did not live to read the
    // answer.
    #expect(found == acknowledged || found == acknowledged + 1, what)
    if found > acknowledged {
      #expect(death.connection == 0 && death.after >= script.length(of: 0, upTo: found), what)
    }
    try StoreCheck.expect(standby.store, holds: found, script, what)
  }

  /// It died before READY: nothing was taken over, or all of precopy.
  private func expectNothingOrPrecopy(
    _ standby: LocalStandby, _ script: PrimaryScript, _ what: Comment
  ) throws {
    // One that had not said enough to be a source is not missed: the standby takes the next.
    if let next = try? Primary(script, to: standby.uri), (try? next.precopy()) != nil {
      next.close()
      _ = try standby.outcome()
      return try StoreCheck.expect(standby.store, holds: 0, script, what)
    }
    _ = try standby.wait()
    guard (try? Store.status(of: standby.store))?.manifest != nil else {
      #expect(!FileManager.default.fileExists(atPath: standby.store), what)
      return
    }
    try StoreCheck.expect(standby.store, holds: 0, script, what)
  }
}
