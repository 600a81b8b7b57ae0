import Foundation
import Glibc
import SessionReplay
import Store
import TestSupport
import Testing

/// A standby that was stopped, or frozen with its control group, finds on waking what looks like
/// its primary's death. Its guest has gone on alone meanwhile.
@Suite("A standby that stood still", .serialized, .beside)
struct StoppedStandbyTests {
  private static let script = SyntheticGuest.script(
    .plain, seed: 14, checkpoints: 6, pages: [40, 5])

  /// A standby that would fail over, after its second checkpoint.
  private final class Round {
    let folder: TemporaryFolder
    let standby: StandbyProcess
    let control: ControlClient
    let primary: Primary
    let worker: pid_t

    init() throws {
      folder = try TemporaryFolder()
      standby = try StandbyProcess(
        channels: 0,
        [
          "--on-loss", "failover", "--fence", "touch \(folder("fenced"))", "--", "/bin/false",
        ])
      control = try ControlClient(standby.uri)
      try control.wait { $0["version"].int == 1 }
      primary = try Primary(StoppedStandbyTests.script, to: standby.uri)
      try primary.play(upTo: 2)
      _ = standby.waitRehearsed()
      worker = try #require(standby.multifd.process.worker)
    }

    /// Stops both processes, and lets them go on when more time has passed than a protect waits.
    func stop(_ meanwhile: () throws -> Void) throws {
      signal(SIGSTOP)
      defer { signal(SIGCONT) }
      try meanwhile()
      Thread.sleep(forTimeInterval: 2.5)
    }

    private func signal(_ number: Int32) {
      for pid in [standby.multifd.process.pid, worker] { kill(pid, number) }
    }

    /// Whether the fence was run.
    var hasFenced: Bool { FileManager.default.fileExists(atPath: folder("fenced")) }

    func expectHeld(_ result: MultiFDProcess.Result, code: Int32, _ what: String) throws {
      #expect(result.code == code, "\(result)")
      #expect(result.errorLine?.contains(what) == true, "\(result)")
      #expect(!hasFenced, "\(result)")
    }
  }

  @Test("Its primary's connections have ended meanwhile: nothing is begun, the guest is held")
  func primaryLeaves() throws {
    let round = try Round()
    defer { round.primary.close() }
    try round.stop {
      round.primary.close()
      round.control.close()
    }
    let result = try round.standby.multifd.wait()
    try round.expectHeld(result, code: 3, "it has stood still for ")
    #expect(result.errors.contains("checkpoint 2 is safe"), "\(result)")
    try StoreCheck.expect(round.standby.store, holds: 2, Self.script)
  }

  @Test("A protect has said that the guest goes on alone, and closed: that is what counts")
  func lastWord() throws {
    let round = try Round()
    defer { round.primary.close() }
    try round.stop {
      round.primary.close()
      round.control.say(["ended": "silence", "alone": true])
      round.control.close()
    }
    let result = try round.standby.multifd.wait()
    try round.expectHeld(result, code: 1, "goes on there, alone (silence)")
    #expect(try Store.status(of: round.standby.store).manifest?.goesOn == true)
  }

  @Test("A checkpoint that was asked for since says that the primary has waited")
  func goesOn() throws {
    let round = try Round()
    defer { round.primary.close() }
    try round.stop {}
    // Until it has noticed.
    Thread.sleep(forTimeInterval: 0.5)
    try round.primary.checkpoint(3)
    round.primary.close()
    round.control.close()
    let result = try round.standby.multifd.wait()
    #expect(result.code == 1 && round.hasFenced, "\(result)")
    try StoreCheck.expect(round.standby.store, holds: 3, Self.script)
  }

  @Test("One whose answer was to come while it stood still says nothing")
  func inside() throws {
    let round = try Round()
    defer { round.primary.close() }
    try round.primary.request()
    try round.stop { try round.primary.send(Self.script.checkpoints[2]) }
    try round.primary.expectAcknowledgement(3)
    round.primary.close()
    round.control.close()
    let result = try round.standby.multifd.wait()
    try round.expectHeld(result, code: 3, "it has stood still for ")
    try StoreCheck.expect(round.standby.store, holds: 3, Self.script)
  }

  @Test("Whoever watches over it has stood still itself, and finds it dead inside a checkpoint")
  func guardian() throws {
    let round = try Round()
    defer { round.primary.close() }
    try round.primary.request()
    try round.primary.send(main: [0, 0, 0, 3])
    try round.control.wait { $0["mark"].int == 3 }
    let guardian = round.standby.multifd.process
    guardian.kill(SIGSTOP)
    kill(round.worker, SIGKILL)
    Thread.sleep(forTimeInterval: 2.5)
    guardian.kill(SIGCONT)
    try round.expectHeld(
      round.standby.multifd.wait(), code: 3, "it has stood still for ")
    try StoreCheck.expect(round.standby.store, holds: 2, Self.script)
  }
}
