import Foundation
import Roles
import SessionReplay
import Store
import TestSupport
import Testing

/// What a standby has promised is kept when a backend hangs, crashes or leaves, or something ends
/// its worker.
@Suite(
  "Misbehaving backends behind a standby", .enabled(if: MisbehavingBackend.unavailable == nil),
  .beside)
struct StandbyBackendTests {
  /// A standby whose backend works until ``misbehave()``.
  struct Session {
    let script = SyntheticGuest.script(
      seed: 70, checkpoints: 3, pages: [1500], counts: [60])
    let backend: MisbehavingBackend
    let standby: StandbyProcess
    let primary: Primary
    private let folder: TemporaryFolder

    init(_ statement: String, _ arguments: [String]) throws {
      folder = try TemporaryFolder()
      backend = try MisbehavingBackend(
        "unruly",
        ["AT": "1", "RECV": "if (access(\"\(folder("now"))\", F_OK) == 0) { \(statement); }"])
      standby = try StandbyProcess(channels: 2, backend.arguments + arguments)
      primary = try Primary(script, to: standby.uri)
    }

    /// From now on.
    func misbehave() throws { try Data().write(to: URL(filePath: folder("now"))) }

    /// Two checkpoints, and a third that meets the fault.
    func play() throws {
      try primary.play(upTo: 2)
      try misbehave()
      try primary.request()
      // It may be cut off in the middle.
      try? primary.send(script.checkpoints[2])
    }
  }

  static let deaths = ["exit(0)", "_exit(0)", "crash()", "hang()"]

  @Test("--on-loss failover, into a spare and without", arguments: deaths, [true, false])
  func failover(statement: String, spare: Bool) throws {
    // Without a spare the first is the rehearsal's.
    let qemu = try FakeQEMU([FakeQEMU.good, FakeQEMU.good])
    defer { qemu.end() }
    let session = try Session(
      statement,
      ["--timeout", "3", "--on-loss", "failover", "--fence", "true"]
        + (spare ? ["--spare"] : []) + ["--", qemu.program])
    defer { session.primary.close() }
    try session.play()
    let result = try session.standby.multifd.wait(.seconds(40))
    #expect(result.code == 5, "\(result)")
    #expect(result.errors.contains("backend unruly, channel"), "\(result)")
    #expect(qemu.fed.read { $0 } == 1)
    #expect(try Store.status(of: session.standby.store).manifest?.state == .handedOver)
  }

  @Test("--on-loss hold: the last checkpoint is safe", arguments: deaths)
  func hold(statement: String) throws {
    let session = try Session(statement, ["--timeout", "3"])
    defer { session.primary.close() }
    try session.play()
    let result = try session.standby.multifd.wait(.seconds(40))
    #expect(result.code == 70, "\(result)")
    #expect(result.errorLine?.contains("backend unruly, channel") == true, "\(result)")
    #expect(result.errors.contains("checkpoint 2 is safe"), "\(result)")
    try StoreCheck.expect(session.standby.store, holds: 2, session.script)
  }

  @Test("A backend that hangs does not stop the checkpoints' clock")
  func clock() throws {
    let qemu = try FakeQEMU([FakeQEMU.good, FakeQEMU.good])
    defer { qemu.end() }
    let session = try Session(
      "hang()",
      [
        "--timeout", "600", "--checkpoint-timeout", "1", "--on-loss", "failover", "--fence", "true",
        "--", qemu.program,
      ])
    defer { session.primary.close() }
    try session.play()
    let result = try session.standby.multifd.wait(.seconds(40))
    #expect(result.code == 5, "\(result)")
    #expect(result.errors.contains("no checkpoint for 1 s"), "\(result)")
  }

  @Test("A standby that was stopped for a while has not lost its primary, nor its backend")
  func stopped() throws {
    let session = try Session(
      "",
      [
        "--timeout", "3", "--checkpoint-timeout", "2", "--on-loss", "failover", "--no-fence", "--",
        "/bin/false",
      ])
    defer { session.primary.close() }
    try session.primary.play(upTo: 1)
    try session.primary.request()
    let process = session.standby.multifd.process
    let worker = try #require(process.worker)
    for signal in [SIGSTOP, SIGCONT] {
      process.kill(signal)
      kill(worker, signal)
      if signal == SIGSTOP { Thread.sleep(forTimeInterval: 4) }
    }
    Thread.sleep(forTimeInterval: 0.5)
    try session.primary.send(session.script.checkpoints[1])
    try session.primary.expectAcknowledgement(2)
    process.kill(SIGTERM)
    let result = try session.standby.multifd.wait(.seconds(40))
    #expect(result.code == 128 + SIGTERM, "\(result)")
    try StoreCheck.expect(session.standby.store, holds: 2, session.script)
  }

  @Test("A backend that hangs does not stop a signal")
  func signal() throws {
    let session = try Session("hang()", ["--timeout", "600"])
    defer { session.primary.close() }
    try session.play()
    kill(session.standby.multifd.process.pid, SIGTERM)
    let result = try session.standby.multifd.wait(.seconds(40))
    #expect(result.code == 128 + SIGTERM, "\(result)")
    try StoreCheck.expect(session.standby.store, holds: 2, session.script)
  }

  @Test("Before the standby is ready nothing is taken over", arguments: ["exit(0)", "crash()"])
  func precopy(statement: String) throws {
    let session = try Session(
      statement, ["--on-loss", "failover", "--fence", "true", "--", "/bin/false"])
    defer { session.primary.close() }
    try session.misbehave()
    #expect(throws: Primary.Ended.self) { try session.primary.precopy() }
    let result = try session.standby.multifd.wait(.seconds(40))
    #expect(result.code == 70, "\(result)")
    #expect((try? Store.status(of: session.standby.store))?.manifest == nil, "\(result)")
  }

  @Test(
    "A worker ended between checkpoints: its primary goes on, only a fence lets another begin",
    arguments: [true, false])
  func between(fence: Bool) throws {
    let qemu = try FakeQEMU([FakeQEMU.good, FakeQEMU.good])
    defer { qemu.end() }
    let session = try Session(
      "",
      ["--on-loss", "failover"] + (fence ? ["--fence", "true"] : ["--no-fence"])
        + ["--", qemu.program])
    defer { session.primary.close() }
    try session.primary.play(upTo: 2)
    kill(try #require(session.standby.multifd.process.worker), SIGKILL)
    let result = try session.standby.multifd.wait(.seconds(40))
    #expect(result.code == (fence ? 5 : 70), "\(result)")
    #expect(qemu.fed.read { $0 } == (fence ? 1 : 0))
    #expect(result.errors.contains("was ended by signal 9"), "\(result)")
    if !fence {
      #expect(result.errors.contains("checkpoint 2 is safe"), "\(result)")
      try StoreCheck.expect(session.standby.store, holds: 2, session.script)
    }
  }
}
