import Foundation
import TestSupport
import Testing

/// The guest while its memory is copied for the first time, and what of it the first checkpoint has.
@Suite("A guest whose memory is copied", .beside)
struct StandingGuestTests {
  private func isAvailable() -> Bool {
    QEMUVersion.v111.isAvailableElseAnnounce("protecting a guest whose memory is copied")
  }

  /// One that ran during precopy under TCG differed in its hot pages in 15 of 16 tries.
  @Test(
    "All that it has written is in the first checkpoint: one that is emulated stands still, another runs",
    arguments: ["tcg", "kvm"])
  func firstCheckpoint(_ accelerator: String) throws {
    guard isAvailable() else { return }
    if accelerator == "kvm", let reason = BareGuest.kvmUnavailable {
      return reason.announce("a guest under KVM")
    }
    let folder = try TemporaryFolder()
    let memory = try TemporaryFolder(.memory(bytes: 512 << 20))
    let qemu = try QEMU(
      .v111, BareGuest(in: folder).machine(accelerator),
      arguments: ["-qmp", "unix:\(folder("protect")),server=on,wait=off"])
    let standby = try MultiFDProcess([
      "receive", "--colo", "--listen", "tcp:127.0.0.1:0", "--store", memory("store"), "--json",
      "--progress", "none",
    ])
    let port = try #require(
      try standby.waitListening().split(separator: ":").last.flatMap { Int($0) })
    // A protect's own connection comes first.
    let proxy = try Proxy(to: port, cuts: [Protection.hold(at: 1, .v111, connection: 1)])
    let count = try BareGuest.wait(in: qemu, beyond: 0)
    let protect = try MultiFDProcess([
      "protect", "--qmp", folder("protect"), "--standby", "tcp:127.0.0.1:\(proxy.port)", "--json",
      "--checkpoint", "100ms", "--patience", "60",
    ])
    defer {
      protect.process.kill()
      proxy.close()
      standby.process.kill()
    }
    try wait("a first checkpoint") {
      try #require(
        standby.process.isRunning, "\(protect.process.errors.text) \(standby.process.errors.text)")
      return (try? String(contentsOfFile: memory("store/redone"), encoding: .utf8)) == "1\n"
    }
    let differ = try RAMComparison.differences(process: qemu, memory("store/ram/pc.ram"))
    #expect(differ.map(\.offset) == [])
    #expect(try BareGuest.count(in: qemu) > count)
    let events = qemu.qmp.events(from: 0).map { event in
      event.name == "MIGRATION" ? event.data["status"].string ?? "" : event.name
    }
    let stop = try #require(events.firstIndex(of: "STOP"))
    let isEmulated = accelerator == "tcg"
    let active = try #require(events.firstIndex(of: "active"))
    #expect((stop < active) == isEmulated, "\(events)")
    #expect(protect.process.errors.text.contains("it stands still") == isEmulated)
  }

  @Test("It goes on when the copy does not come to its end, by the protect or by the next one")
  func copyFails() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    var standby = try parts.standby()
    // Slow enough to be met in the middle of it.
    let words = ["--checkpoint", "200ms", "--max-bandwidth", "2M"]
    var protect = try parts.protect(words)
    try WholeGuestParts.wait(protect, "precopy") { $0["state"].string == "precopy" }
    try wait("a guest that stands still") { try parts.qemu.status() == "paused" }
    #expect(try parts.leftovers().contains("mf-standing"))
    standby.process.kill()
    #expect(try protect.wait().code == 3)
    #expect(try parts.qemu.status() == "running")
    #expect(try parts.leftovers() == [])

    // Nor does the next one need a standby for that, or a guest that it can protect.
    for (next, code) in [(words, 3), (words + ["--net", "another"], 2)] as [([String], Int32)] {
      standby = try parts.standby()
      protect = try parts.protect(words)
      try wait("a guest that stands still") { try parts.qemu.status() == "paused" }
      try wait("a migration") {
        try parts.qemu.qmp.execute("query-migrate")["status"].string == "active"
      }
      protect.process.kill()
      standby.process.kill()
      try wait("the end of the migration") {
        try parts.qemu.qmp.execute("query-migrate")["status"].string == "failed"
      }
      #expect(try parts.qemu.status() == "paused")
      let end = try parts.protect(next).wait()
      #expect(end.code == code, "\(end)")
      #expect(try parts.qemu.status() == "running")
    }
  }

  @Test("It goes on when the standby, which lives, takes nothing of it any more")
  func copyHangs() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let standby = try parts.standby()
    defer { standby.process.kill() }
    // Connection 0 is the protect's own.
    let proxy = try Proxy(
      to: parts.port,
      cuts: [.init(connection: 1, direction: .toServer, after: 1 << 20, .stall)])
    defer { proxy.close() }
    let end = try parts.protect([], through: proxy.port).wait()
    #expect(end.code == 3 && end.errors.contains("it takes nothing of a guest"), "\(end)")
    #expect(try parts.qemu.status() == "running")
    #expect(try parts.leftovers() == [])
  }

  @Test("One that takes over while it is copied lets through what it sends")
  func takenOver() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let standby = try parts.standby()
    defer { standby.process.kill() }
    let protect = try parts.protect(["--all-nets", "--max-bandwidth", "1M"])
    try WholeGuestParts.wait(protect, "precopy") { $0["state"].string == "precopy" }
    try wait("a migration") {
      try parts.qemu.qmp.execute("query-migrate")["status"].string == "active"
    }
    kill(try #require(protect.process.children.first), SIGKILL)
    try wait("another one") { protect.process.errors.text.hasSuffix("taking over\n") }
    try parts.qemu.qmp.execute(
      "announce-self", ["initial": 20, "max": 20, "rounds": 5, "step": 10])
    try WholeGuestParts.wait(protect, "packets") {
      $0["state"].string == "precopy" && ($0["nets"][0]["released"].int ?? 0) > 0
    }
    protect.process.kill()
  }

  @Test("One that its operator has stopped is not protected, and stays stopped")
  func operatorsStop() throws {
    guard isAvailable() else { return }
    let parts = try WholeGuestParts()
    let standby = try parts.standby()
    defer { standby.process.kill() }
    try parts.qemu.qmp.execute("stop")
    let end = try parts.protect([]).wait()
    #expect(end.code == 2 && end.errors.contains("it is paused"), "\(end)")
    #expect(try parts.qemu.status() == "paused")
  }

  private func wait(_ what: String, _ isSo: () throws -> Bool) throws {
    guard try eventually(within: .seconds(60), isSo) else {
      throw LabError("there is not: \(what)")
    }
  }
}
