import Foundation
import TestSupport
import Testing

/// `multifd protect` beside a stock QEMU 11.1, with the real standby, and what dies of the three.
@Suite("Protecting a whole guest", .beside)
struct ProtectTests {
  private func isAvailable() -> Bool {
    QEMUVersion.v111.isAvailableElseAnnounce("protecting a whole guest")
  }

  @Test("The primary is killed: the standby's disks are the last checkpoint's, no more and no less")
  func primaryKilled() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let standby = try parts.standby()
    // So long that checkpoints are taken when they are asked for.
    let protect = try parts.protect(["--checkpoint", "60s"])
    try WholeGuestParts.wait(protect, "protection") { $0["state"].string == "protected" }
    try parts.write(0, 17, at: "0")
    try parts.write(1, 18, at: "1M")
    let before = try WholeGuestParts.wait(protect, "line") { _ in true }["checkpoint"].int ?? 0
    let delay: JSON = ["x-checkpoint-delay": 60_000]
    try parts.qemu.qmp.execute("migrate-set-parameters", delay)
    try WholeGuestParts.wait(protect, "checkpoint") { ($0["checkpoint"].int ?? 0) > before }
    try parts.write(0, 19, at: "2M")
    try parts.write(1, 20, at: "1M")
    parts.qemu.killNow()
    #expect(try standby.wait().code == 3)
    let end = try protect.wait()
    // Whichever comes first: its end is noticed, or a question meets it.
    let isTold =
      end.errors.contains("it has ended, or closed its monitor")
      || end.errors.contains("closed the connection")
    #expect(end.code == 3 && isTold, "\(end)")
    #expect(try parts.byte("a", at: 2 << 20) == 19)
    #expect(try parts.byte("disk0", at: 0) == 17)
    #expect(try parts.byte("disk0", at: 2 << 20) == 0)
    #expect(try parts.byte("disk1", at: 1 << 20) == 18)
  }

  @Test("The standby is killed: the guest goes on alone, and nothing of ours is left in QEMU")
  func standbyKilled() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let standby = try parts.standby()
    let protect = try parts.protect(["--all-nets", "--checkpoint", "200ms"])
    try WholeGuestParts.waitProtected(protect)
    #expect(try parts.leftovers().contains("mf-disk0"))
    #expect(try parts.capability("x-colo") == true)
    standby.process.kill()
    let end = try protect.wait()
    #expect(end.code == 3 && end.errors.contains("unprotected since "), "\(end)")
    #expect(try parts.qemu.status() == "running")
    #expect(try parts.leftovers() == [])
    #expect(try parts.capability("x-colo") == false)
    // A QEMU may not survive the end of a mirror while its guest writes.
    let events = parts.qemu.qmp.events(from: 0)
    for (index, event) in events.enumerated() where event.name == "BLOCK_JOB_CANCELLED" {
      let last = events[..<index].last { ["STOP", "RESUME"].contains($0.name) }
      #expect(last?.name == "STOP", "\(event.data.text)")
    }
    #expect(events.count { $0.name == "BLOCK_JOB_CANCELLED" } == 2)
    try parts.write(0, 21, at: "0")
    #expect(try parts.byte("a", at: 0) == 21)
  }

  @Test(
    "A block of the guest's disk that cannot be read stops the copy, which QEMU does not survive the end of",
    arguments: WholeGuestParts.BadBlock.allCases)
  func badBlock(_ badBlock: WholeGuestParts.BadBlock) throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts(badBlock: badBlock)
    let standby = try parts.standby()
    defer { standby.process.kill() }
    let protect = try parts.protect(["--checkpoint", "200ms"])
    switch badBlock {
    case .once:
      try WholeGuestParts.waitProtected(protect)
      protect.process.kill()
      #expect(try parts.byte("disk0", at: WholeGuestParts.badOffset) == 1)
    case .always:
      let end = try protect.wait()
      let why = "disk disk0: its mirror stops again and again: it cannot read the disk"
      #expect(end.code == 3 && end.errors.contains(why), "\(end)")
      #expect(try parts.leftovers() == [])
    }
    // A guest that is still protected stands still for each of its checkpoints.
    try parts.qemu.waitRunning()
    let events = parts.qemu.qmp.events(from: 0)
    #expect(
      events.contains { $0.name == "BLOCK_JOB_ERROR" && $0.data["operation"].string == "read" })
    #expect(!events.contains { $0.name == "BLOCK_JOB_COMPLETED" })
  }

  @Test(
    "The guest goes on alone when the fence has succeeded, and what it sends is held until then")
  func fence() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let (tries, allows) = (parts.folder("tries"), parts.folder("allows"))
    let fence = ["--fence", "echo try >>\(tries); test -e \(allows)"]
    let never = try parts.protect(["--all-nets"] + fence).wait()
    #expect(never.code == 3 && !FileManager.default.fileExists(atPath: tries), "\(never)")

    let standby = try parts.standby()
    var protect = try parts.protect(["--all-nets", "--checkpoint", "200ms"] + fence)
    try WholeGuestParts.waitProtected(protect)
    standby.process.kill()
    try WholeGuestParts.wait(protect, "fencing") { $0["state"].string == "fencing" }
    #expect(try parts.leftovers().contains { $0.hasSuffix("-catch") })
    protect.process.kill(SIGTERM)
    let ended = try protect.wait()
    #expect(ended.code == 128 + SIGTERM && ended.errors.contains("its packets wait"), "\(ended)")
    #expect(try parts.leftovers().contains { $0.hasSuffix("-catch") })

    // Another one finds it so, and may let it go.
    protect = try parts.protect(["--all-nets"] + fence)
    try WholeGuestParts.wait(protect, "fencing") { $0["state"].string == "fencing" }
    try Data().write(to: URL(filePath: allows))
    let end = try protect.wait()
    #expect(end.code == 3 && end.errors.contains("unprotected since "), "\(end)")
    #expect(end.errors.contains("succeeded"), "\(end)")
    #expect(try parts.qemu.status() == "running")
    #expect(try parts.leftovers() == [])
    #expect(try String(contentsOfFile: tries, encoding: .utf8).split(separator: "\n").count > 2)
  }

  @Test("A standby that was fenced is not fenced again by whoever comes while the guest is alone")
  func fenceOnce() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let tries = parts.folder("tries")
    let fence = ["--fence", "echo try >>\(tries)"]
    let standby = try parts.standby()
    let protect = try parts.protect(["--checkpoint", "200ms", "--retry"] + fence)
    try WholeGuestParts.waitProtected(protect)
    standby.process.kill()
    try WholeGuestParts.wait(protect, "loss") { $0["state"].string == "unprotected" }
    protect.process.kill()
    #expect(try parts.capability("x-colo") == true)
    let next = try parts.protect(["--retry"] + fence)
    try WholeGuestParts.wait(next, "try") { $0["state"].string == "unprotected" }
    #expect(try String(contentsOfFile: tries, encoding: .utf8) == "try\n")
    // Nor is what is left of it in the way of another migration, where that ends in order.
    next.process.kill(SIGTERM)
    #expect(try next.wait().code == 128 + SIGTERM)
    #expect(try parts.capability("x-colo") == false)
    #expect(try parts.leftovers().contains("mf-disk0"))
    #expect(try parts.qemu.status() == "running")
  }

  @Test("A QEMU behind a command dies: its standby, which has the only guest, is not fenced")
  func commandDies() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let tries = parts.folder("tries")
    let standby = try parts.standby()
    let protect = try parts.protect(
      ["--checkpoint", "200ms", "--oob", parts.folder("oob"), "--fence", "echo try >>\(tries)"],
      monitor: try parts.command())
    try WholeGuestParts.waitProtected(protect)
    parts.qemu.killNow()
    let end = try protect.wait()
    #expect(end.code == 3 && end.errors.contains("closed"), "\(end)")
    #expect(!FileManager.default.fileExists(atPath: tries), "\(end)")
    #expect(try standby.wait().code == 3)
  }

  @Test("A guest behind a command ends by itself: the other monitor tells")
  func commandEnds() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let standby = try parts.standby()
    let protect = try parts.protect(
      ["--checkpoint", "200ms", "--oob", parts.folder("oob")], monitor: try parts.command())
    try WholeGuestParts.waitProtected(protect)
    _ = try? parts.qemu.qmp.execute("quit")
    let end = try protect.wait()
    #expect(end.code == 0 && end.errors.contains("ended by itself (host-qmp-quit)"), "\(end)")
    #expect(try standby.wait().errors.contains("host-qmp-quit"))
  }

  @Test("One that only looks, and one that was given the wrong standby, leave who protects by it")
  func look() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let standby = try parts.standby()
    let protect = try parts.protect(["--all-nets", "--checkpoint", "200ms"])
    try WholeGuestParts.waitProtected(protect)
    _ = try MultiFDProcess.run([
      "protect", "--qmp", parts.folder("oob"), "--standby", "tcp:127.0.0.1:\(parts.port)",
      "--all-disks", "--dry-run",
    ])
    let folder = try TemporaryFolder()
    let other = try QEMU(
      .v111, BareGuest(in: folder).machine("tcg"),
      arguments: ["-qmp", "unix:\(folder("protect")),server=on,wait=off"])
    let wrong = try MultiFDProcess.run([
      "protect", "--qmp", folder("protect"), "--standby", "tcp:127.0.0.1:\(parts.port)",
    ])
    #expect(wrong.code == 3 || wrong.code == 2, "\(wrong)")
    #expect(try other.status() == "running")
    try WholeGuestParts.waitProtected(protect)
    #expect(protect.process.isRunning && standby.process.isRunning)
    let said = standby.process.errors.text
    #expect(said.components(separatedBy: "a protect has connected").count == 2, "\(said)")
  }

  @Test("A guest that waits for a fence and ends by itself: the fence is ended")
  func fenceOfNobody() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let standby = try parts.standby()
    let protect = try parts.protect(["--checkpoint", "200ms", "--fence", "sleep 1000"])
    try WholeGuestParts.waitProtected(protect)
    standby.process.kill()
    try WholeGuestParts.wait(protect, "fencing") { $0["state"].string == "fencing" }
    parts.qemu.killNow()
    let end = try protect.wait()
    #expect(end.code == 3 && end.errors.contains("closed its monitor"), "\(end)")
  }

  @Test("The standby stops answering: QEMU is freed, its guest's writes are done")
  func standbyHangs() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let standby = try parts.standby()
    let protect = try parts.protect(["--all-nets", "--checkpoint", "200ms"])
    try WholeGuestParts.waitProtected(protect)
    let worker = try #require(standby.process.worker)
    kill(worker, SIGSTOP)
    // Without the yank QEMU would wait for it, and answer nothing.
    try parts.write(0, 22, at: "0")
    let end = try protect.wait()
    // Which of them is noticed first, the silence or the checkpoint that does not end, is the clocks'.
    #expect(end.code == 3 && end.errors.contains("unprotected since "), "\(end)")
    #expect(try parts.byte("a", at: 0) == 22)
    #expect(try parts.qemu.status() == "running")
    #expect(try parts.leftovers() == [])
    // It wakes, and finds out what has become of the guest. Where it was stopped in a checkpoint it
    // finds our write first, which no guest that stands still makes.
    kill(worker, SIGCONT)
    let woken = try standby.wait()
    #expect(woken.code == 1 && woken.errors.contains("guest goes on"), "\(woken)")
  }

  @Test("Only the server of its disks stops: writes that wait for it are done, the guest goes on")
  func disksHang() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let standby = try parts.standby()
    let disks = try Proxy(to: parts.disksPort)
    let link = try Proxy(to: parts.port, telling: (parts.disksPort, disks.port))
    defer { for proxy in [disks, link] { proxy.close() } }
    // So long that no checkpoint comes upon it.
    let protect = try parts.protect(["--checkpoint", "60s"], through: link.port)
    try WholeGuestParts.wait(protect, "protection") { $0["state"].string == "protected" }
    disks.hang()
    try parts.write(0, 24, at: "0", waits: false)
    let end = try protect.wait()
    #expect(end.code == 3 && end.errors.contains("has taken no write"), "\(end)")
    try parts.write(0, 25, at: "1M")
    #expect(try parts.byte("a", at: 0) == 24)
    #expect(try parts.qemu.status() == "running")
    #expect(try parts.leftovers() == [])
    _ = try standby.wait()
  }

  @Test(
    "The server of its disks says nothing: QEMU, whose guest would wait for it, is not sent there")
  func disksSilent() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let standby = try parts.standby()
    let disks = try Proxy(to: parts.disksPort)
    let link = try Proxy(to: parts.port, telling: (parts.disksPort, disks.port))
    defer { for proxy in [disks, link] { proxy.close() } }
    disks.hang()
    let end = try parts.protect(["--checkpoint", "200ms"], through: link.port).wait()
    #expect(end.code == 3 && end.errors.contains("disks: "), "\(end)")
    #expect(try parts.qemu.status() == "running")
    #expect(try parts.leftovers() == [])
    #expect(standby.process.isRunning)
  }

  @Test(
    "The standby lives, and a checkpoint does not come to its end: the guest goes on",
    arguments: [false, true])
  func checkpointHangs(_ protectDies: Bool) throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let standby = try parts.standby()
    // PONG, SHUT and READY, three words a checkpoint, and of the fifth only REPLY. Connection 0 is
    // the protect's own.
    let proxy = try Proxy(
      to: parts.port,
      cuts: [.init(connection: 1, direction: .toClient, after: 16 + 4 + 12 * 4 + 4, .stall)])
    defer { proxy.close() }
    let protect = try parts.protect(["--checkpoint", "200ms"], through: proxy.port)
    if protectDies {
      // Whoever takes over has not seen the guest stop.
      try WholeGuestParts.wait(protect, "protection") { $0["state"].string == "protected" }
      var stands = 0
      #expect(
        try eventually {
          stands = try parts.qemu.status() == "running" ? 0 : stands + 1
          usleep(20_000)
          return stands > 20
        })
      kill(try #require(protect.process.children.first), SIGKILL)
    }
    let end = try protect.wait()
    #expect(end.errors.contains("taking over") == protectDies, "\(end)")
    let said = standby.process.errors.text
    #expect(end.code == 3 && end.errors.contains("keeps the guest waiting"), "\(end) \(said)")
    #expect(try parts.qemu.status() == "running")
    #expect(try parts.leftovers() == [])
    _ = try standby.wait()
  }

  @Test(
    "--retry: another standby gets what the first one lacked, and no more",
    arguments: [(true, "127.0.0.1"), (true, "[::1]"), (false, "127.0.0.1")])
  func retry(adopts: Bool, host: String) throws {
    guard isAvailable() else { return }
    guard host == "127.0.0.1" || Sockets.hasSix else {
      return SkipReason("there is no [::1]").announce("a standby that is reached by IPv6")
    }
    let parts = try WholeGuestParts(host: host)
    let first = try parts.standby()
    let protect = try parts.protect(["--all-nets", "--checkpoint", "200ms", "--retry"])
    try parts.write(0, 30, at: "0")
    try WholeGuestParts.waitProtected(protect)
    first.process.kill()
    let start = protect.process.output.lines.count
    try WholeGuestParts.wait(protect, from: start, "loss") { $0["state"].string == "unprotected" }
    try parts.write(0, 31, at: "3M")
    if !adopts {
      for name in ["disk0", "disk1"] {
        try FileManager.default.removeItem(atPath: parts.folder(name + ".epochs"))
      }
    }
    let second = try parts.standby(adopts ? ["--adopt"] : [])
    try WholeGuestParts.waitProtected(protect)
    let said = protect.process.errors.text
    #expect(said.contains("disk disk0: copying what has changed") == adopts, "\(said)")
    try parts.write(1, 32, at: "4M")
    try WholeGuestParts.waitProtected(protect)
    parts.qemu.killNow()
    #expect(try second.wait().code == 3)
    #expect(try protect.wait().code == 3)
    for (image, copy) in [("a", "disk0"), ("b", "disk1")] {
      #expect(
        FileManager.default.contentsEqual(
          atPath: parts.folder(image), andPath: parts.folder(copy)), "\(copy)")
    }
  }

  @Test("A protect that is killed comes back; one that is ended leaves the guest protected")
  func protectKilled() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let standby = try parts.standby()
    let sockets = parts.folder("sockets")
    try FileManager.default.createDirectory(atPath: sockets, withIntermediateDirectories: true)
    let protect = try parts.protect(
      ["--all-nets", "--checkpoint", "200ms", "--sockets", sockets])
    try WholeGuestParts.waitProtected(protect)
    kill(try #require(protect.process.children.first), SIGKILL)
    let back = protect.process.errors.wait(.seconds(20)) {
      $0.text.hasSuffix("taking over") ? true : nil
    }
    #expect(back == true, "\(protect.process.errors.text)")
    try WholeGuestParts.waitProtected(protect)
    #expect(try parts.leftovers().contains { $0.hasSuffix("-catch") })
    #expect(
      SmallFileSystem.names(sockets).count == 1, "the folder of the one that was killed stays")
    protect.process.kill(SIGTERM)
    #expect(try protect.wait().code == 128 + SIGTERM)
    #expect(SmallFileSystem.names(sockets) == [])
    let left = try parts.leftovers()
    #expect(left.contains("mf-disk0") && !left.contains { $0.hasPrefix("multifd-packets-") })
    #expect(try parts.qemu.qmp.execute("query-migrate")["status"].string == "colo")
    // One that wants less, or other disks, changes nothing.
    let wrong = try MultiFDProcess.run([
      "protect", "--qmp", parts.folder("protect"), "--standby", "tcp:127.0.0.1:\(parts.port)",
      "--disk", "disk0",
    ])
    #expect(wrong.code == 2, "\(wrong)")
    #expect(try parts.qemu.qmp.execute("query-migrate")["status"].string == "colo")
    let next = try parts.protect(["--all-nets", "--checkpoint", "200ms"])
    try WholeGuestParts.waitProtected(next)
    #expect(next.process.errors.text.contains("taking over"))
    #expect(standby.process.isRunning)
  }

  @Test("A guest that ends by itself is not revived")
  func guestEnds() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let standby = try parts.standby([
      "--on-loss", "failover", "--no-fence", "--", "/nonexistent/qemu",
    ])
    let protect = try parts.protect(["--checkpoint", "200ms"])
    try WholeGuestParts.waitProtected(protect)
    _ = try? parts.qemu.qmp.execute("quit")
    let end = try protect.wait()
    #expect(end.code == 0 && end.errors.contains("ended by itself (host-qmp-quit)"), "\(end)")
    let report = try standby.wait()
    #expect(report.errors.contains("(host-qmp-quit): it is not revived"), "\(report)")
    // Nor is it by hand.
    let status = try MultiFDProcess.run(["status", "--store", parts.store, "--json"])
    #expect(status.code == 1 && status.json["ended"].string == "host-qmp-quit", "\(status)")
    let words = ["failover", "--store", parts.store, "--fence", "true", "--", "/nonexistent/qemu"]
    let refused = try MultiFDProcess.run(words)
    #expect(
      refused.code == 1 && refused.errors.contains("has ended at its primary (host-qmp-quit)"),
      "\(refused)")
    let forced = try MultiFDProcess.run([words[0], "--force"] + words[1...])
    #expect(forced.code == 1 && forced.errors.contains("/nonexistent/qemu"), "\(forced)")
  }

  @Test("Packets wait for a checkpoint, ask for one, and leave")
  func packets() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let standby = try parts.standby()
    let protect = try parts.protect([
      "--net", "hn0", "--checkpoint", "5ms..60s", "--linger", "1", "--channels", "2",
      "--compression", "zlib",
    ])
    try WholeGuestParts.wait(protect, "protection") { $0["state"].string == "protected" }
    // What QEMU says in the guest's name goes the way of its packets.
    try parts.qemu.qmp.execute(
      "announce-self", ["initial": 20, "max": 20, "rounds": 5, "step": 10])
    // A standby says that packets may leave before it says which checkpoint it has.
    let line = try WholeGuestParts.wait(protect, "packets") {
      ($0["nets"][0]["released"].int ?? 0) >= 5 && ($0["checkpoint"].int ?? 0) > 0
    }
    #expect((line["nets"][0]["asked"].int ?? 0) > 0)
    #expect(line["nets"][0]["wait-mean"].double ?? 0 > 0)
    #expect(standby.process.isRunning)
  }

  @Test("A checkpoint is taken when it is asked for, and as often as it is told while it runs")
  func control() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let standby = try parts.standby()
    let socket = parts.folder("control")
    func tell(_ words: String...) throws -> MultiFDProcess.Result {
      try MultiFDProcess.run(["control", "--control", socket] + words)
    }
    // So long that none is taken by itself.
    let protect = try parts.protect(["--checkpoint", "3600s", "--control", socket])
    let first = try WholeGuestParts.wait(protect, "protection") {
      $0["state"].string == "protected"
    }
    let before = first["checkpoint"].int ?? 0
    #expect(try tell("x-checkpoint").code == 0)
    try WholeGuestParts.wait(protect, "checkpoint") { $0["checkpoint"].int ?? 0 > before }
    for wrong in ["{}", #"{"x-checkpoint-delay":0}"#, #"{"max-bandwidth":-1}"#, #"{"channels":2}"#]
    {
      let result = try tell("migrate-set-parameters", wrong)
      #expect(result.code != 0 && result.errors.contains("it takes"), "\(wrong): \(result)")
    }
    let change = #"{"x-checkpoint-delay":100,"max-bandwidth":123456789}"#
    #expect(try tell("migrate-set-parameters", change).code == 0)
    try WholeGuestParts.wait(protect, "checkpoints") { $0["checkpoint"].int ?? 0 > before + 3 }
    let parameters = try parts.qemu.qmp.execute("query-migrate-parameters")
    #expect(parameters["x-checkpoint-delay"].int == 100, "\(parameters.text)")
    #expect(parameters["max-bandwidth"].int == 123_456_789)
    #expect(standby.process.isRunning)
  }

  @Test("--dry-run says what is in the way, and changes nothing")
  func dryRun() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let alone = try parts.protect(["--dry-run"]).wait()
    #expect(alone.code == 2, "\(alone)")
    let subjects = alone.json["findings"].elements.filter { $0["verdict"].string == "impossible" }
    #expect(subjects.map { $0["subject"].string } == ["standby"])
    let standby = try parts.standby()
    truncate(parts.folder("disk0"), 4 << 20)
    // One that was killed in its look has left this.
    try parts.qemu.qmp.execute("object-add", ["qom-type": "rng-builtin", "id": "mf-look"])
    let good = try parts.protect(["--all-nets", "--dry-run"]).wait()
    #expect(good.code == 0, "\(good)")
    #expect(try parts.leftovers() == [])
    #expect(standby.process.isRunning)
    let named = try MultiFDProcess.run([
      "protect", "--qmp", parts.folder("protect"), "--standby", "tcp:127.0.0.1:1", "--dry-run",
    ])
    #expect(named.code == 2 && named.output.contains("disk disk0: impossible"), "\(named)")
  }
}
