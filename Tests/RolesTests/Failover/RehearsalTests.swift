import Foundation
import Roles
import SessionReplay
import Store
import TestSupport
import Testing

/// `failover --check`, and what is known of a failover before it is needed.
@Suite("Rehearsal", .beside)
struct RehearsalTests {
  private func check(
    _ store: String, _ qemu: [String], _ arguments: [String] = []
  ) throws -> MultiFDProcess.Result {
    try MultiFDProcess.run(
      ["failover", "--check", "--json", "--timeout", "2", "--store", store] + arguments + ["--"]
        + qemu)
  }

  @Test("It says whether it fits, starts nothing for good, runs no fence, and changes nothing")
  func fits() throws {
    let standby = try LostGuest.standby()
    let qemu = try FakeQEMU([FakeQEMU.good, .init(reads: false), FakeQEMU.good])
    defer { qemu.end() }
    let fence = ["--fence", "touch " + standby.beside("fenced")]
    let good = try check(standby.store, [qemu.program], fence)
    #expect(good.code == 0 && good.json["fits"].bool == true, "\(good)")
    let status = try StoreCheck.status(standby.store)
    #expect(status.json["rehearsal"]["fits"].bool == true, "\(status)")

    let bad = try check(standby.store, [qemu.program], fence)
    #expect(bad.code == 3 && bad.json["fits"].bool == false, "\(bad)")
    #expect(bad.errorLine != nil && bad.json["why"].string != nil, "\(bad)")
    let text = try MultiFDProcess.run(["status", "--store", standby.store])
    #expect(text.output.contains("failover    would fail: "), "\(text)")

    #expect(qemu.pids.count == 2 && !qemu.pids.contains(where: qemu.isAlive))
    #expect(qemu.fed.read { $0 } == 0)
    #expect(!FileManager.default.fileExists(atPath: standby.beside("fenced")))
    #expect(!FileManager.default.fileExists(atPath: standby.store + "/spare"))
    try StoreCheck.expect(standby.store, holds: 3, LostGuest.script)
    #expect(try LostGuest.failover(standby, [qemu.program]).code == 5)
    // It says nothing about a guest that is gone, and there is nothing left to rehearse.
    let after = try StoreCheck.status(standby.store)
    #expect(after.json["rehearsal"]["fits"].bool == nil, "\(after)")
    #expect(try check(standby.store, [qemu.program]).code == 1)
    #expect(qemu.pids.count == 3)
  }

  @Test("Beside a standby that is running, whose spare stays what it is")
  func beside() throws {
    let spare = try FakeQEMU([FakeQEMU.good])
    defer { spare.end() }
    let qemu = try FakeQEMU([FakeQEMU.good])
    defer { qemu.end() }
    let standby = try StandbyProcess([
      "--on-loss", "failover", "--no-fence", "--spare", "--timeout", "3", "--", spare.program,
    ])
    let primary = try Primary(LostGuest.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 1)
    #expect(standby.waitSpare() != nil)
    let result = try check(standby.store, [qemu.program])
    #expect(result.code == 0, "\(result)")
    #expect(try check(standby.store, ["/bin/false"]).errors.contains("a spare QEMU of this store"))
    #expect(qemu.pids.count == 1 && !qemu.pids.contains(where: qemu.isAlive))
    try primary.checkpoint(2)
    primary.close()
    #expect(try standby.multifd.wait().code == 5)
    #expect(spare.pids.count == 1 && spare.pids.contains(where: spare.isAlive))
  }

  @Test("Of a store that holds no guest, or none that may be started, it is refused")
  func nothing() throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    #expect(try check(folder("nothing"), ["/bin/false"]).code == 1)
    #expect(try check(folder.path, ["/bin/false"]).code == 1)
    let standby = try LostGuest.standby()
    // The last is one that nobody opens again.
    for state in [Manifest.State.handedOver, .handingOver, .unsettled, .receiving] {
      try StoreCheck.set(state, in: standby.store)
      #expect(try check(standby.store, ["/bin/false"]).code == 1, "\(state)")
      #expect(!FileManager.default.fileExists(atPath: standby.store + "/rehearsal"))
    }
  }

  @Test("A signal ends it, and its QEMU; that is no verdict")
  func cancelled() throws {
    let standby = try LostGuest.standby()
    let mute = try FakeQEMU([])
    defer { mute.end() }
    let check = try LostGuest.start(standby, [mute.program], ["--check", "--timeout", "60"])
    while mute.pids.isEmpty { usleep(5000) }
    check.process.kill(SIGTERM)
    let ended = try check.wait(.seconds(20))
    #expect(ended.code == 128 + SIGTERM, "\(ended)")
    #expect(!mute.pids.contains(where: mute.isAlive))
    for left in ["rehearsal", "spare"] {
      #expect(!FileManager.default.fileExists(atPath: standby.store + "/" + left))
    }
  }

  @Test("A verdict that is a link, or another guest's, is none")
  func foreignVerdict() throws {
    let standby = try LostGuest.standby()
    let qemu = try FakeQEMU([FakeQEMU.good])
    defer { qemu.end() }
    #expect(try check(standby.store, [qemu.program]).code == 0)
    let path = standby.store + "/rehearsal"
    let text = try String(contentsOfFile: path, encoding: .utf8)
    func verdict() throws -> Bool? {
      try StoreCheck.status(standby.store).json["rehearsal"]["fits"].bool
    }
    #expect(try verdict() == true)
    try FileManager.default.moveItem(atPath: path, toPath: standby.beside("verdict"))
    try FileManager.default.createSymbolicLink(
      atPath: path, withDestinationPath: standby.beside("verdict"))
    #expect(try verdict() == nil)
    try FileManager.default.removeItem(atPath: path)
    let heldAt = try #require(try Store.status(of: standby.store).manifest?.heldAt)
    try text.replacingOccurrences(of: heldAt, with: "1970-01-01T00:00:00Z").write(
      toFile: path, atomically: false, encoding: .utf8)
    #expect(try verdict() == nil)
  }
}

/// Where QEMU's output goes.
@Suite("QEMU's own words", .beside)
struct QEMULogTests {
  @Test("They are quoted, and kept in the store, for its owner alone")
  func quoted() throws {
    let standby = try LostGuest.standby()
    let script = standby.beside("qemu")
    try Program.write(
      "#!/bin/sh\necho first; echo 'qemu-x: no \\033[31mpony' >&2; exit 1\n", to: script)
    let result = try LostGuest.failover(standby, [script])
    #expect(result.code == 1, "\(result)")
    #expect(result.errorLine?.hasSuffix("it has ended: first; no [31mpony") == true, "\(result)")
    #expect(result.errors.contains("hint: ") && result.errors.contains("/qemu.log"), "\(result)")
    #expect(try mode(standby.store + "/qemu.log") == 0o600)
    // Only its own: what an earlier one has said is not this one's reason.
    let silent = try LostGuest.failover(standby, ["/bin/false"])
    #expect(silent.errorLine?.contains("pony") == false, "\(silent)")
    let other = standby.beside("other.log")
    _ = try LostGuest.failover(standby, [script], ["--qemu-log", other])
    #expect(try String(contentsOfFile: other, encoding: .utf8).hasPrefix("first\n"))
  }

  private func mode(_ path: String) throws -> Int {
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    return (attributes[.posixPermissions] as? NSNumber)?.intValue ?? -1
  }

  @Test("A log that is not ours alone is not written, and nothing is started")
  func notOurs() throws {
    let standby = try LostGuest.standby()
    let (log, target) = (standby.store + "/qemu.log", standby.beside("target"))
    let qemu = try FakeQEMU([])
    defer { qemu.end() }
    let makes: [() throws -> Void] = [
      { try FileManager.default.createSymbolicLink(atPath: log, withDestinationPath: target) },
      { try FileManager.default.linkItem(atPath: target, toPath: log) },
      { mkfifo(log, 0o600) }, { mkdir(log, 0o700) },
      {
        try Data().write(to: URL(filePath: log))
        chmod(log, 0o620)
      },
    ]
    try "mine\n".write(toFile: target, atomically: false, encoding: .utf8)
    for make in makes {
      try make()
      let result = try LostGuest.failover(standby, [qemu.program])
      #expect(result.code == 2 && result.errorLine?.contains("cannot be used") == true, "\(result)")
      try FileManager.default.removeItem(atPath: log)
    }
    #expect(qemu.pids.isEmpty)
    #expect(try String(contentsOfFile: target, encoding: .utf8) == "mine\n")
    // One that others could read is closed to them first.
    #expect(FileManager.default.createFile(atPath: log, contents: nil))
    chmod(log, 0o644)
    _ = try LostGuest.failover(standby, ["/bin/false"])
    #expect(try mode(log) == 0o600)
    try StoreCheck.expect(standby.store, holds: 3, LostGuest.script)
  }

  @Test("Whoever waits for the end of failover's output does not wait for QEMU's")
  func output() throws {
    let standby = try LostGuest.standby()
    let qemu = try FakeQEMU([FakeQEMU.good])
    defer { qemu.end() }
    let words = "failover --timeout 5 --store \(standby.store) -- \(qemu.program)"
    // The shell's substitution ends when the last process has closed the pipe.
    let shell = try ChildProcess(
      ["/bin/sh", "-c", "x=$(\(MultiFDProcess.path) \(words) 2>&1); echo \"$? $x\""])
    defer { shell.kill() }
    #expect(shell.wait(.seconds(30)) == .code(0))
    #expect(shell.output.text.hasPrefix("5 "), "\(shell.output.text)")
    let pid = try #require(qemu.pids.first)
    #expect(qemu.isAlive(pid))
    let log = try String(contentsOfFile: standby.store + "/qemu.log", encoding: .utf8)
    #expect(log.contains("\(pid) says so"))
  }

  @Test("A pidfile of a QEMU that was ended goes with it; another's stays")
  func pidFile() throws {
    let standby = try LostGuest.standby()
    let pidFile = standby.beside("pid")
    for (text, stays) in [("$$", false), ("1", true)] {
      let script = standby.beside("qemu")
      try Program.write("#!/bin/sh\necho \(text) >\(pidFile)\nexec sleep 60\n", to: script)
      _ = try LostGuest.failover(standby, [script, "-pidfile", pidFile], ["--check"])
      #expect(FileManager.default.fileExists(atPath: pidFile) == stays)
    }
  }
}
