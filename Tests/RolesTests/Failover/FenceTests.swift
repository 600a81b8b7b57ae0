import Foundation
import Migration
import Roles
import SessionReplay
import Store
import TestSupport
import Testing

/// The command that makes sure that the primary is dead, and how a failover is called off.
@Suite("The fence, and signals", .beside)
struct FenceTests {
  /// SIGPIPE and SIGXFSZ ignored, as a service manager, a parent, or multifd itself may leave them.
  static let ignoringSignals = ["/bin/sh", "-c", "trap '' PIPE XFSZ; exec \"$@\"", "sh"]

  @Test("It is not run for a store that cannot be used")
  func wrongStore() throws {
    let standby = try LostGuest.standby()
    let fenced = standby.beside("fenced")
    func expectRefused(_ store: String, _ what: Comment) throws {
      let result = try MultiFDProcess.run([
        "failover", "--store", store, "--fence", "touch \(fenced)", "--", "qemu",
      ])
      #expect(result.code == 1, "\(what): \(result)")
      #expect(!FileManager.default.fileExists(atPath: fenced), what)
    }
    try expectRefused(standby.beside("nothing"), "no store")
    do {
      let used = try Store.open(standby.store)
      try expectRefused(used.store.path, "in use")
    }
    for state in [Manifest.State.handedOver, .handingOver, .unsettled] {
      try StoreCheck.set(state, in: standby.store)
      try expectRefused(standby.store, "\(state)")
    }
  }

  @Test("What it leaves running keeps nobody waiting who reads our output")
  func leavesProcess() throws {
    let standby = try LostGuest.standby()
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let fence = "echo fencing; sleep 30 & echo $! >\(folder("pid")); exit 0"
    let failover = try LostGuest.failover(standby, ["/bin/false"], ["--fence", fence])
    #expect(failover.errors.contains("fencing\n") && failover.errors.contains("succeeded"))
    let pid = try #require(pid_t(LostGuest.waitLine(folder("pid"))))
    // It runs still, and the end of the output has come all the same.
    #expect(LostGuest.isAlive(pid))
    kill(pid, SIGKILL)
    #expect(failover.hasAllErrors)
  }

  @Test("Time-outs that are none", arguments: [.nan, 0, -1, .infinity, 1e300] as [Double])
  func timeouts(seconds: Double) throws {
    var options = FailoverOptions(store: "/nowhere", command: ["qemu"])
    options.timeout = seconds
    var fence = FailoverOptions(store: "/nowhere", command: ["qemu"])
    fence.fenceTimeout = seconds
    for options in [options, fence] {
      let run = #expect(throws: Failure.self) {
        try Failover(options, log: { _ in }).run()
      }
      #expect(run?.kind == .usage)
      let rehearsal = #expect(throws: Failure.self) {
        try Failover(options, log: { _ in }).rehearse()
      }
      #expect(rehearsal?.kind == .usage)
    }
  }

  @Test("The store stays locked while it runs")
  func locked() throws {
    let standby = try LostGuest.standby()
    let result = try LostGuest.failover(
      standby, ["/bin/false"], ["--fence", "! flock -n \(standby.store)/lock true"])
    #expect(result.errors.contains("succeeded"), "\(result)")
  }

  @Test("It can be ended by signals, under receive too, and a broken pipe ends it")
  func signals() throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    func fence(_ name: String) -> [String] {
      ["--fence", "grep -E '^Sig(Blk|Ign)' /proc/self/status >\(folder(name))"]
    }
    let lost = try LostGuest.standby()
    let qemus = try FakeQEMU([FakeQEMU.good])
    defer { qemus.end() }
    let failover = try LostGuest.start(
      lost, [qemus.program], fence("failover"), wrapper: Self.ignoringSignals
    ).wait()
    #expect(failover.code == 5, "\(failover)")
    let standby = try StandbyProcess(
      ["--on-loss", "failover"] + fence("receive") + ["--", "/bin/false"])
    let primary = try Primary(LostGuest.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 1)
    primary.close()
    _ = try standby.multifd.wait()
    for masks in [
      SignalMasks.read(folder("failover")), SignalMasks.read(folder("receive")), qemus.signals,
    ] {
      #expect(masks["SigBlk"] == 0, "\(masks)")
      #expect(SignalMasks.has(masks["SigIgn"], SIGPIPE) == false, "\(masks)")
      #expect(SignalMasks.has(masks["SigIgn"], SIGXFSZ) == false, "\(masks)")
    }
  }

  @Test("It has --fence-timeout, and is killed then with its children")
  func timeout() throws {
    let standby = try LostGuest.standby()
    let pids = standby.beside("pids")
    let qemu = try FakeQEMU([])
    defer { qemu.end() }
    let result = try LostGuest.failover(
      standby, [qemu.program],
      ["--fence-timeout", "0.5", "--fence", "sleep 300 & echo $! >\(pids); wait"])
    #expect(result.code == 1 && result.errorLine?.contains("within 0.5 s") == true, "\(result)")
    let child = try #require(pid_t(try LostGuest.waitLine(pids)))
    #expect(LostGuest.ends(child))
    #expect(qemu.pids.isEmpty)
    try StoreCheck.expect(standby.store, holds: 3, LostGuest.script)
  }

  @Test("A signal ends it, and all is as before")
  func cancelledFence() throws {
    for underReceive in [false, true] {
      let folder = try TemporaryFolder()
      defer { folder.remove() }
      let fence = ["--fence", "sleep 300 & echo $! >\(folder("pid")); wait"]
      let lost = try LostGuest.standby()
      let standby = try StandbyProcess(["--on-loss", "failover"] + fence + ["--", "/bin/false"])
      let process: MultiFDProcess
      if underReceive {
        let primary = try Primary(LostGuest.script, to: standby.uri)
        defer { primary.close() }
        try primary.play(upTo: 3)
        primary.close()
        process = standby.multifd
      } else {
        process = try LostGuest.start(lost, ["/bin/false"], fence)
      }
      let child = try #require(pid_t(try LostGuest.waitLine(folder("pid"))))
      process.process.kill(SIGTERM)
      let result = try process.wait(.seconds(20))
      #expect(result.code == 128 + SIGTERM, "\(result)")
      #expect(LostGuest.ends(child))
      try StoreCheck.expect(
        underReceive ? standby.store : lost.store, holds: 3, LostGuest.script)
    }
  }

  @Test("A signal ends a QEMU that was not fed; one that was is waited for")
  func cancelledQEMU() throws {
    let standby = try LostGuest.standby()
    let mute = try FakeQEMU([])
    defer { mute.end() }
    let early = try LostGuest.start(standby, [mute.program], ["--timeout", "60"])
    while mute.pids.isEmpty { usleep(5000) }
    early.process.kill(SIGINT)
    let ended = try early.wait(.seconds(20))
    #expect(ended.code == 128 + SIGINT, "\(ended)")
    #expect(!mute.pids.contains(where: mute.isAlive))
    try StoreCheck.expect(standby.store, holds: 3, LostGuest.script)

    let silent = try FakeQEMU([.init(verdict: .silent)])
    defer { silent.end() }
    let late = try LostGuest.start(standby, [silent.program], ["--timeout", "2"])
    #expect(silent.fed.wait(.seconds(30)) { $0 == 1 ? true : nil } != nil)
    late.process.kill(SIGTERM)
    let result = try late.wait(.seconds(20))
    #expect(result.code == 3 && result.errors.contains("waiting for its answer"), "\(result)")
    #expect(try Store.status(of: standby.store).manifest?.state == .handingOver)
  }

  @Test("A QEMU that cannot be started leaves no folder behind")
  func folders() throws {
    func empty() -> Set<String> {
      let files = FileManager.default
      let names = (try? files.contentsOfDirectory(atPath: "/tmp")) ?? []
      return Set(
        names.filter {
          $0.hasPrefix("multifd-")
            && (try? files.contentsOfDirectory(atPath: "/tmp/" + $0))?.isEmpty == true
        })
    }
    let standby = try LostGuest.standby()
    let before = empty()
    let result = try LostGuest.failover(standby, [standby.beside("nothing")])
    #expect(result.code == 1, "\(result)")
    // Those of other tests, which run at the same time, go away or are filled.
    var left = empty().subtracting(before)
    for _ in 0..<100 where !left.isEmpty {
      usleep(100_000)
      left.formIntersection(empty())
    }
    #expect(left.isEmpty)
  }
}
