import Foundation
import Roles
import SessionReplay
import Store
import TestSupport
import Testing

/// Without a QEMU: what happens around it, and what the store says then.
@Suite("Failover, when something is in the way", .beside)
struct FailoverTests {
  static let script = LostGuest.script

  private func lost() throws -> LocalStandby { try LostGuest.standby() }

  /// A program that writes its arguments to a file, and then does `ending`.
  private func program(_ path: String, _ ending: String) throws -> String {
    let script = "#!/bin/sh\nprintf '%s\\n' \"$@\" >\(path).arguments\n\(ending)\n"
    try Program.write(script, to: path)
    return path
  }

  private func failover(
    _ standby: LocalStandby, _ qemu: [String], _ arguments: [String] = []
  ) throws -> MultiFDProcess.Result {
    try MultiFDProcess.run(
      ["failover", "--store", standby.store, "--timeout", "2"] + arguments + ["--"] + qemu)
  }

  @Test("A fence that fails: nothing is started, and the guest is still here")
  func fence() throws {
    let standby = try lost()
    let qemu = try program(standby.beside("qemu"), "exit 0")
    for command in ["exit 1", "kill -9 $$", "/nonexistent/fence"] {
      let result = try failover(standby, [qemu], ["--fence", command])
      #expect(result.code == 1, "\(result)")
      #expect(result.errorLine?.hasPrefix("multifd: error: fence:") == true, "\(result)")
      #expect(!FileManager.default.fileExists(atPath: qemu + ".arguments"))
      try StoreCheck.expect(standby.store, holds: 3, Self.script)
    }
  }

  @Test("The fence comes first, and sees that nothing has begun")
  func order() throws {
    let standby = try lost()
    let qemu = try program(standby.beside("qemu"), "exit 0")
    let fence =
      "test ! -e \(qemu).arguments && cp \(standby.store)/manifest.json \(standby.beside("then"))"
    let result = try failover(standby, [qemu, "-m", "1"], ["--fence", fence])
    #expect(result.code == 1, "\(result)")
    #expect(result.errors.contains("succeeded"), "\(result)")
    #expect(!result.errors.contains("no fence"), "\(result)")
    let then = try String(contentsOfFile: standby.beside("then"), encoding: .utf8)
    #expect(then.contains("\"standby\""))
    let arguments = try String(contentsOfFile: qemu + ".arguments", encoding: .utf8)
      .split(separator: "\n")
    #expect(Array(arguments.prefix(3)) == ["-m", "1", "-object"])
    #expect(arguments.contains("defer"))
  }

  @Test(
    "A QEMU that cannot be started, ends at once, or speaks no QMP: the guest is still here",
    arguments: ["", "exit 1", "exec sleep 60"])
  func noQEMU(ending: String) throws {
    let standby = try lost()
    let qemu =
      try ending.isEmpty
      ? standby.beside("nothing") : program(standby.beside("qemu"), ending)
    let result = try failover(standby, [qemu])
    #expect([1, 3].contains(result.code), "\(result)")
    #expect(result.errorLine != nil, "\(result)")
    let status = try StoreCheck.status(standby.store)
    #expect(status.code == 0 && status.json["guest"].string == "standby", "\(status)")
    try StoreCheck.expect(standby.store, holds: 3, Self.script)
  }

  @Test("The state says what is going on")
  func activity() throws {
    let standby = try lost()
    #expect(try Store.status(of: standby.store).state == "lost 3")
    let qemu = try program(
      standby.beside("qemu"), "cp \(standby.store)/state \(standby.beside("then")); exit 1")
    #expect(try failover(standby, [qemu]).code == 1)
    let then = try String(contentsOfFile: standby.beside("then"), encoding: .utf8)
    #expect(then == "failing over 3\n")
    #expect(try Store.status(of: standby.store).state == "lost 3")
  }

  @Test(
    "After a reboot the store is refused, for nothing of it was forced to disk; --force is heard")
  func reboot() throws {
    let standby = try lost()
    let qemu = try program(standby.beside("qemu"), "exit 1")
    let manifest = standby.store + "/manifest.json"
    let text = try String(contentsOfFile: manifest, encoding: .utf8)
    let boot = try #require(Manifest.thisBoot)
    try #require(text.contains(boot), "\(text)")
    try text.replacingOccurrences(of: boot, with: "another").write(
      toFile: manifest, atomically: false, encoding: .utf8)
    let result = try failover(standby, [qemu])
    #expect(result.code == 1 && result.errors.contains("never forced to disk"), "\(result)")
    #expect(!FileManager.default.fileExists(atPath: qemu + ".arguments"))
    let status = try StoreCheck.status(standby.store)
    #expect(status.code == 1 && status.json["stale"].bool == true, "\(status)")
    _ = try failover(standby, [qemu], ["--force"])
    #expect(FileManager.default.fileExists(atPath: qemu + ".arguments"))
  }

  @Test("The cache is given back, once the guest has all of it", arguments: Manifest.Cache.allCases)
  func cache(cache: Manifest.Cache) throws {
    let standby = try LocalStandby(cache: cache)
    let primary = try Primary(Self.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 3)
    primary.close()
    _ = try standby.outcome()
    #expect(SmallFileSystem.tree(standby.store).contains { $0.hasPrefix("cache/") })
    _ = try HeldGuest(openingStore: standby.store, force: false)
    #expect(!SmallFileSystem.tree(standby.store).contains { $0.hasPrefix("cache/") })
    try StoreCheck.expect(standby.store, holds: 3, Self.script)
  }

  @Test("-incoming in the command, or no command, is wrong use")
  func usage() throws {
    let standby = try lost()
    for qemu in [["qemu", "-incoming", "defer"], []] {
      let result = try failover(standby, qemu)
      #expect(result.code == 64, "\(result)")
    }
    try StoreCheck.expect(standby.store, holds: 3, Self.script)
  }

  @Test(
    "What the command line says is wrong before anything happens",
    arguments: [
      ["--timeout", "0"], ["--timeout", "nan"], ["--timeout", "inf"], ["--timeout", "86401"],
      ["--", "qemu", "-incoming", "defer"], ["--", "qemu", "-object", "{"],
    ])
  func commandLine(arguments: [String]) throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let ending = arguments.contains("--") ? arguments : arguments + ["--", "qemu"]
    let fence = ["--fence", "touch " + folder("fenced")]
    let failover = try MultiFDProcess.run(
      ["failover", "--store", folder("nothing")] + fence + ending)
    #expect(failover.code == 64, "\(failover)")
    let standby = try MultiFDProcess.run(
      [
        "receive", "--colo", "--listen", "unix:" + folder("socket"), "--store", folder("store"),
        "--on-loss", "failover", "--no-fence",
      ] + fence + ending.map { $0 == "--timeout" ? "--checkpoint-timeout" : $0 })
    #expect(standby.code == 64, "\(standby)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
  }

  @Test("A guest that was handed over, or may run elsewhere, is not started twice")
  func handedOver() throws {
    let standby = try lost()
    let qemu = try program(standby.beside("qemu"), "exit 0")
    for state in [Manifest.State.handedOver, .handingOver, .unsettled] {
      try StoreCheck.set(state, in: standby.store)
      let result = try failover(standby, [qemu])
      #expect(result.code == 1, "\(state): \(result)")
      #expect(!FileManager.default.fileExists(atPath: qemu + ".arguments"), "\(state)")
    }
  }

  @Test("--on-loss failover: not for a primary that sends what cannot be, it may well run")
  func notLost() throws {
    for wrong in [true, false] {
      let folder = try TemporaryFolder()
      defer { folder.remove() }
      let qemu = try program(folder("qemu"), "exit 1")
      let standby = try StandbyProcess([
        "--on-loss", "failover", "--no-fence", "--timeout", "2", "--", qemu,
      ])
      let primary = try Primary(Self.script, to: standby.uri)
      defer { primary.close() }
      try primary.play(upTo: 2)
      // The rehearsal has started it, too.
      try #require(standby.waitRehearsed() == false)
      try FileManager.default.removeItem(atPath: qemu + ".arguments")
      if wrong { try primary.send(main: [0, 0, 0, 9]) } else { primary.close() }
      let result = try standby.multifd.wait()
      #expect(result.code == (wrong ? 4 : 1), "\(result)")
      let started = FileManager.default.fileExists(atPath: qemu + ".arguments")
      #expect(started == !wrong, "\(result)")
      try StoreCheck.expect(standby.store, holds: 2, Self.script)
    }
  }
}
