import Foundation
import Roles
import SessionReplay
import Store
import TestSupport
import Testing

/// What QEMU says, or does not, once it has got the guest. It starts the guest before it says so.
@Suite("Failover, what QEMU answers", .beside)
struct FailoverAnswerTests {
  private func guest(_ standby: LocalStandby) throws -> Manifest.State? {
    try Store.status(of: standby.store).manifest?.state
  }

  @Test(
    "No answer, once the devices were sent: the RAM may have moved on",
    arguments: [FakeQEMU.Verdict.silent, .closes])
  func noAnswer(verdict: FakeQEMU.Verdict) throws {
    let standby = try LostGuest.standby()
    let qemu = try FakeQEMU([.init(verdict: verdict), FakeQEMU.good])
    defer { qemu.end() }
    let result = try LostGuest.failover(standby, [qemu.program])
    #expect(result.errors.contains("no fence: whoever started this answers for it"), "\(result)")
    #expect([1, 3].contains(result.code), "\(result)")
    #expect(result.errorLine?.contains("moved on") == true, "\(result)")
    #expect(result.errors.contains("hint: "), "\(result)")
    #expect(try guest(standby) == .handingOver)
    let first = try #require(qemu.pids.first)
    #expect(!qemu.isAlive(first))
    // Not by mistake; but whoever has read QEMU's message can.
    let again = try LostGuest.failover(standby, [qemu.program])
    #expect(again.code == 1 && qemu.pids.count == 1, "\(again)")
    let forced = try LostGuest.failover(standby, [qemu.program], ["--force"])
    #expect(forced.code == 5 && qemu.pids.count == 2, "\(forced)")
  }

  @Test(
    "No answer, but its monitor says that the guest runs: that is what counts",
    arguments: [FakeQEMU.Verdict.silent, .closes])
  func lostAnswer(verdict: FakeQEMU.Verdict) throws {
    let standby = try LostGuest.standby()
    let qemu = try FakeQEMU([.init(verdict: verdict, runs: true)])
    defer { qemu.end() }
    let result = try LostGuest.failover(standby, [qemu.program])
    #expect(result.code == 5 && result.json["status"].string == "running", "\(result)")
    #expect(try guest(standby) == .handedOver)
    #expect(qemu.pids.count == 1 && qemu.pids.contains(where: qemu.isAlive))
  }

  @Test("An explicit no: the guest is still here")
  func refused() throws {
    let standby = try LostGuest.standby()
    let seen = Monitor<Manifest.State?>(nil)
    let store = standby.store
    let qemu = try FakeQEMU([
      .init(verdict: .refused) {
        let state = try? Store.status(of: store).manifest?.state
        seen.update { $0 = state }
      }
    ])
    defer { qemu.end() }
    let result = try LostGuest.failover(standby, [qemu.program])
    #expect(result.code == 1, "\(result)")
    #expect(seen.read { $0 } == .handingOver)
    #expect(try Store.status(of: standby.store).state == "lost 3")
    try StoreCheck.expect(standby.store, holds: 3, LostGuest.script)
  }

  @Test(
    "It cannot be fed: nothing has begun",
    arguments: [FakeQEMU.Behaviour(listens: false), .init(reads: false)])
  func notFed(behaviour: FakeQEMU.Behaviour) throws {
    let standby = try LostGuest.standby()
    let qemu = try FakeQEMU([behaviour])
    defer { qemu.end() }
    let result = try LostGuest.failover(standby, [qemu.program])
    #expect([1, 3].contains(result.code), "\(result)")
    #expect(qemu.pids.count == 1 && !qemu.pids.contains(where: qemu.isAlive))
    try StoreCheck.expect(standby.store, holds: 3, LostGuest.script)
  }

  @Test(
    "It ends the load before the devices: its own words say why, and the guest is still here",
    arguments: [[], [0, 1, 0, 4, 0, 0, 0, 1], [0, 2, 0, 4, 0, 0, 0, 1, 0, 1, 0, 4, 0, 0, 0, 1]])
  func endsLoad(words: [UInt8]) throws {
    let standby = try LostGuest.standby()
    let qemu = try FakeQEMU([.init(ends: words)])
    defer { qemu.end() }
    let result = try LostGuest.failover(standby, [qemu.program])
    #expect(result.code == 1, "\(result)")
    #expect(
      result.errorLine?.hasPrefix("multifd: error: qemu: QEMU ended the load: error: ") == true,
      "\(result)")
    #expect(result.errors.contains("all that QEMU has said is in"), "\(result)")
    #expect(try Store.status(of: standby.store).state == "lost 3")
    #expect(qemu.pids.count == 1 && !qemu.pids.contains(where: qemu.isAlive))
    try StoreCheck.expect(standby.store, holds: 3, LostGuest.script)
  }

  @Test("It has the guest, and its monitor or the store fails: the guest runs all the same")
  func afterwards() throws {
    for blocked in [false, true] {
      let standby = try LostGuest.standby()
      let store = standby.store
      let qemu = try FakeQEMU([
        .init(answers: blocked) {
          // The next manifest cannot be written.
          if blocked { mkdir(store + "/manifest.json.new", 0o700) }
        }
      ])
      defer { qemu.end() }
      let result = try LostGuest.failover(standby, [qemu.program])
      #expect(result.code == 5, "\(result)")
      #expect(result.json["status"].string == (blocked ? "running" : "unknown"), "\(result)")
      #expect(try guest(standby) == (blocked ? .handingOver : .handedOver))
      let pid = try #require(qemu.pids.first)
      #expect(qemu.isAlive(pid) && result.json["pid"].int == Int(pid), "\(result)")
    }
  }

  @Test("A guest that a failover has continued is not continued again, not even by force")
  func used() throws {
    let standby = try LostGuest.standby()
    let qemu = try FakeQEMU([FakeQEMU.good, FakeQEMU.good])
    defer { qemu.end() }
    #expect(try LostGuest.failover(standby, [qemu.program]).code == 5)
    let again = try LostGuest.failover(standby, [qemu.program], ["--force"])
    #expect(again.code == 1, "\(again)")
    #expect(again.errorLine?.contains("newer than its devices' state") == true, "\(again)")
    let send = try MultiFDProcess.run([
      "send", "--force", "--store", standby.store, "--to", "unix:" + standby.beside("nobody"),
    ])
    #expect(send.errorLine?.contains("newer than its devices' state") == true, "\(send)")
    #expect(qemu.pids.count == 1)
    // One that was sent away is whole here.
    var manifest = try #require(try Store.status(of: standby.store).manifest)
    manifest.failedOver = nil
    try write(manifest, standby.store)
    let forced = try LostGuest.failover(standby, [qemu.program], ["--force"])
    #expect(forced.code == 5, "\(forced)")
  }

  private func write(_ manifest: Manifest, _ store: String) throws {
    try JSONEncoder().encode(manifest).write(to: URL(fileURLWithPath: store + "/manifest.json"))
  }

  @Test("A spare that has gone bad while it waited is replaced", arguments: [false, true])
  func uselessSpare(isDead: Bool) throws {
    let qemu = try FakeQEMU([.init(answers: isDead), FakeQEMU.good])
    defer { qemu.end() }
    let standby = try StandbyProcess([
      "--on-loss", "failover", "--no-fence", "--spare", "--timeout", "3", "--", qemu.program,
    ])
    let primary = try Primary(LostGuest.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 2)
    #expect(standby.waitSpare() != nil)
    if isDead, let pid = qemu.pids.first {
      kill(pid, SIGKILL)
      // Its command line goes first; only then can the one that started it be told.
      while !FakeQEMU.hasEnded(pid) { usleep(2000) }
    }
    primary.close()
    let result = try standby.multifd.wait()
    #expect(result.code == 5 && result.errors.contains("starting another"), "\(result)")
    try expectSecondTookOver(qemu, standby.store)
  }

  @Test(
    "A spare that cannot be fed is found out when it is started, and another has the guest",
    arguments: [FakeQEMU.Behaviour(listens: false), .init(reads: false)])
  func unfitSpare(spare: FakeQEMU.Behaviour) throws {
    let qemu = try FakeQEMU([spare, FakeQEMU.good])
    defer { qemu.end() }
    let standby = try StandbyProcess([
      "--on-loss", "failover", "--no-fence", "--spare", "--timeout", "3", "--", qemu.program,
    ])
    let primary = try Primary(LostGuest.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 2)
    let said = standby.multifd.process.errors.wait(.seconds(30)) {
      $0.text.hasPrefix("multifd: no spare QEMU") ? true : nil
    }
    #expect(said == true)
    let status = try StoreCheck.status(standby.store)
    #expect(status.json["rehearsal"]["fits"].bool == false, "\(status)")
    primary.close()
    let result = try standby.multifd.wait()
    #expect(result.code == 5, "\(result)")
    try expectSecondTookOver(qemu, standby.store)
  }

  /// A standby after two checkpoints, whose spare waits, and its primary.
  private func waitingSpare(_ qemu: FakeQEMU) throws -> (StandbyProcess, Primary) {
    let standby = try StandbyProcess([
      "--on-loss", "failover", "--no-fence", "--spare", "--", qemu.program,
    ])
    let primary = try Primary(LostGuest.script, to: standby.uri)
    try primary.play(upTo: 2)
    #expect(standby.waitSpare() != nil)
    return (standby, primary)
  }

  @Test("A signal while a spare has the guest, which then says no: no other QEMU gets it")
  func lateSignal() throws {
    let multifd = Monitor<pid_t?>(nil)
    let qemu = try FakeQEMU([
      .init(verdict: .refused) {
        guard let pid = multifd.wait(.seconds(20), for: { $0 }) else { return }
        kill(pid, SIGTERM)
        // Long enough to be heard: the answer comes after it.
        usleep(500_000)
      }, FakeQEMU.good,
    ])
    defer { qemu.end() }
    let (standby, primary) = try waitingSpare(qemu)
    multifd.update { $0 = standby.multifd.process.pid }
    primary.close()
    let result = try standby.multifd.wait()
    #expect(result.code == 128 + SIGTERM, "\(result)")
    #expect(qemu.pids.count == 1 && !qemu.pids.contains(where: qemu.isAlive))
    #expect(try Store.status(of: standby.store).manifest?.state == .standby)
  }

  @Test("A signal while a spare has the guest does not end it: the guest runs there, or may")
  func signalAfterwards() throws {
    let multifd = Monitor<pid_t?>(nil)
    let qemu = try FakeQEMU([
      .init {
        guard let pid = multifd.wait(.seconds(20), for: { $0 }) else { return }
        kill(pid, SIGTERM)
        // Long enough to be heard.
        usleep(500_000)
      }
    ])
    defer { qemu.end() }
    let (standby, primary) = try waitingSpare(qemu)
    multifd.update { $0 = standby.multifd.process.pid }
    primary.close()
    let result = try standby.multifd.wait()
    #expect(result.code == 5, "\(result)")
    #expect(result.errors.contains("waiting for its answer"), "\(result)")
    #expect(qemu.pids.count == 1 && qemu.pids.allSatisfy(qemu.isAlive), "\(result)")
    #expect(try Store.status(of: standby.store).manifest?.state == .handedOver)
  }

  @Test("A signal before the primary is lost ends the spare that waits")
  func signalBefore() throws {
    let qemu = try FakeQEMU([FakeQEMU.good])
    defer { qemu.end() }
    let (standby, primary) = try waitingSpare(qemu)
    defer { primary.close() }
    standby.multifd.process.kill(SIGTERM)
    let result = try standby.multifd.wait()
    #expect(result.code == 128 + SIGTERM, "\(result)")
    #expect(qemu.pids.count == 1 && !qemu.pids.contains(where: qemu.isAlive))
    #expect(!FileManager.default.fileExists(atPath: standby.store + "/spare"))
  }

  private func expectSecondTookOver(_ qemu: FakeQEMU, _ store: String) throws {
    try #require(qemu.pids.count == 2)
    #expect(!qemu.isAlive(qemu.pids[0]) && qemu.isAlive(qemu.pids[1]))
    #expect(try Store.status(of: store).manifest?.state == .handedOver)
    #expect(!FileManager.default.fileExists(atPath: store + "/spare"))
  }

  @Test("kill -9 leaves a spare waiting: the next failover ends it, and nobody else")
  func orphan() throws {
    let qemu = try FakeQEMU([FakeQEMU.good, FakeQEMU.good])
    defer { qemu.end() }
    let (standby, primary) = try waitingSpare(qemu)
    defer { primary.close() }
    standby.multifd.process.kill()
    _ = try standby.multifd.wait()
    let orphan = try #require(qemu.pids.first)
    #expect(qemu.isAlive(orphan))
    let result = try MultiFDProcess.run([
      "failover", "--store", standby.store, "--fence", "! grep -q . /proc/\(orphan)/cmdline",
      "--", qemu.program,
    ])
    #expect(result.code == 5 && result.errors.contains("ended pid \(orphan)"), "\(result)")
    #expect(!qemu.isAlive(orphan))
    let survivor = try #require(qemu.pids.last)
    // The number in the file is another process's by now, and that may be what a spare looks like.
    let lost = try LostGuest.standby()
    let innocent = try ChildProcess(["/bin/sh", "-c", "kill -STOP $$; :"])
    defer { innocent.kill() }
    let start = try #require(Self.startTime(innocent.pid))
    for text in [
      "\(innocent.pid)\n", "\(innocent.pid) \(start - 1)\n", "-1 1\n", "?",
      "\(innocent.pid) \(start) another-boot\n",
    ] {
      try text.write(toFile: lost.store + "/spare", atomically: false, encoding: .utf8)
      #expect(try LostGuest.failover(lost, ["/bin/false"]).code == 1)
      #expect(innocent.isRunning && qemu.isAlive(survivor), "\(text)")
    }
    // And that this would have ended it, had it been the one, whatever its command line says: one
    // whose memory was told by a file of options does not name the store.
    try "\(innocent.pid) \(start)\n".write(
      toFile: lost.store + "/spare", atomically: false, encoding: .utf8)
    #expect(try LostGuest.failover(lost, ["/bin/false"]).code == 1)
    #expect(innocent.wait(.seconds(20)) == .signal(SIGKILL))
  }

  /// Field 22 of proc_pid_stat(5).
  private static func startTime(_ pid: pid_t) -> UInt64? {
    let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
    return text?.split(separator: " ").dropFirst(21).first.flatMap { UInt64($0) }
  }
}

extension StandbyProcess {
  /// Waits until it says that its spare QEMU waits.
  func waitSpare() -> Bool? {
    multifd.process.errors.wait(.seconds(30)) {
      $0.text.hasPrefix("multifd: spare QEMU waits") ? true : nil
    }
  }
}
