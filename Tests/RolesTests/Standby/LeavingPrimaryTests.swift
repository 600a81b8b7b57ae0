import Foundation
import Migration
import Roles
import SessionReplay
import TestSupport
import Testing

/// A primary that dies ends all of its connections; one that keeps some of them lives, and its
/// guest with it.
@Suite("A primary that leaves and lives", .beside)
struct LeavingPrimaryTests {
  static let script = SyntheticGuest.script(seed: 90, checkpoints: 3, pages: [200, 9])
  static let plain = SyntheticGuest.script(.plain, seed: 91, checkpoints: 3, pages: [200, 9])

  @Test("It ends its main channel only, as migrate_cancel does: nothing to fail over to")
  func mainOnly() throws {
    for (isInside, limit) in [(false, nil), (true, nil), (false, 1.0)] {
      let standby = try LocalStandby(checkpointTimeout: limit) { $0.timeout = 2 }
      let primary = try Primary(Self.script, to: standby.uri)
      defer { primary.close() }
      try primary.play(upTo: 2)
      if isInside { try primary.request() }
      primary.end(0)
      let outcome = try standby.outcome()
      #expect(outcome.cause.cause == .peerLives, "\(outcome.cause)")
      #expect(outcome.cause.kind == .failed && "\(outcome.cause)".contains("it lives"))
      try StoreCheck.expect(standby.store, holds: 2, Self.script)
    }
  }

  @Test("It ends a channel only", arguments: [false, true])
  func channelOnly(insidePacket: Bool) throws {
    let standby = try LocalStandby { $0.timeout = 1.5 }
    let primary = try Primary(Self.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 1)
    try primary.request()
    var burst = Self.script.checkpoints[1]
    burst.channels[1] = Array(burst.channels[1].prefix(insidePacket ? 700 : 0))
    burst.main.removeLast(burst.main.count / 2)
    try primary.send(burst)
    primary.end(2)
    let outcome = try standby.outcome()
    #expect(outcome.cause.cause == .peerLives, "\(outcome.cause)")
    #expect("\(outcome.cause)".contains("channel 1"), "\(outcome.cause)")
    try StoreCheck.expect(standby.store, holds: 1, Self.script)
  }

  @Test("It ends a channel while all others have something unread")
  func unread() throws {
    let standby = try LocalStandby { $0.timeout = 1.5 }
    let primary = try Primary(Self.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 1)
    try primary.request()
    // As far as the main channel's first sync point, which channel 1 does not come to.
    var burst = Self.script.checkpoints[1]
    let rest = PrimaryScript.Burst(
      main: Array(burst.main.suffix(burst.main.count / 2)),
      channels: burst.channels.map { Array($0.suffix($0.count / 2)) })
    burst.main.removeLast(rest.main.count)
    burst.channels[0].append(contentsOf: rest.channels[0])
    burst.channels[1] = []
    try primary.send(burst)
    Thread.sleep(forTimeInterval: 0.1)
    // Both stand still, and this is not read any more.
    try primary.send(PrimaryScript.Burst(main: rest.main, channels: [rest.channels[0], []]))
    primary.end(2)
    let outcome = try standby.outcome()
    #expect(outcome.cause.cause == .peerLives, "\(outcome.cause)")
    try StoreCheck.expect(standby.store, holds: 1, Self.script)
  }

  @Test("It ends all of them, one after the other, or has only one: it may be dead")
  func all() throws {
    for script in [Self.script, Self.plain] {
      let standby = try LocalStandby()
      let primary = try Primary(script, to: standby.uri)
      defer { primary.close() }
      try primary.play(upTo: 2)
      for connection in 0...script.channelCount {
        primary.end(connection)
        Thread.sleep(forTimeInterval: 0.3)
      }
      let outcome = try standby.outcome()
      #expect(outcome.cause.peerIsGone && outcome.cause.kind == .unreachable, "\(outcome.cause)")
      try StoreCheck.expect(standby.store, holds: 2, script)
    }
  }

  @Test("A reset says that nobody is there, and is not waited upon")
  func reset() throws {
    let standby = try StandbyProcess(tcp: true, ["--timeout", "60"])
    let primary = try Primary(Self.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 2)
    primary.reset(0)
    let result = try standby.multifd.wait(.seconds(30))
    #expect(result.code == 3 && result.json["checkpoint"].int == 2, "\(result)")
  }

  @Test("--on-loss failover: no fence is run and no QEMU started for a primary that lives")
  func commandLine() throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let standby = try StandbyProcess([
      "--on-loss", "failover", "--timeout", "3", "--fence", "touch \(folder("fenced"))", "--",
      "/bin/false",
    ])
    let primary = try Primary(Self.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 2)
    primary.end(0)
    let result = try standby.multifd.wait()
    #expect(result.code == 1 && result.errors.contains("it lives"), "\(result)")
    #expect(!FileManager.default.fileExists(atPath: folder("fenced")), "\(result)")
    try StoreCheck.expect(standby.store, holds: 2, Self.script)
  }

  @Test("A --checkpoint-timeout that is no number would be over at once: refused")
  func noNumber() throws {
    for seconds in [Double.nan, 0, -1] {
      let standby = try LocalStandby(checkpointTimeout: seconds)
      #expect(try standby.refusal().kind == .usage)
    }
  }

  @Test("--on-loss failover wants a fence, or the word that there is none")
  func words() throws {
    func run(_ arguments: [String]) throws -> MultiFDProcess.Result {
      try MultiFDProcess.run(
        ["receive", "--listen", "unix:/nowhere/s", "--store", "/nowhere/store"] + arguments
          + ["--", "qemu-system-x86_64"])
    }
    let failover = ["--colo", "--on-loss", "failover"]
    for wrong in [
      failover, failover + ["--fence", "true", "--no-fence"], ["--colo", "--no-fence"],
    ] {
      let result = try run(wrong)
      #expect(result.code == 64 && result.errors.contains("-fence"), "\(result)")
    }
    for (right, says) in [
      (["--no-fence"], "no fence: "), (["--fence", "true"], "the fence decides"),
    ] {
      let result = try run(failover + right)
      #expect(result.code == 1, "it gets as far as the store: \(result)")
      #expect(result.errors.contains(says) && result.errors.contains("migrate_cancel"), "\(result)")
    }
  }
}
