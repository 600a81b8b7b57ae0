import Foundation
import TestSupport
import Testing

/// A guest that KVM runs: its processor's state is another one's than TCG's, and so is the way in
/// which QEMU learns what it has written.
@Suite("Guests under KVM", .beside)
struct KVMTests {
  private func isAvailable(_ version: QEMUVersion) -> Bool {
    if let reason = BareGuest.kvmUnavailable {
      reason.announce("guests under KVM")
      return false
    }
    return version.isAvailableElseAnnounce("guests under KVM in QEMU \(version)")
  }

  /// It has counted as far as another had, and goes on.
  private func expectSuccessor(_ count: Int, _ qemu: some GuestHost) throws {
    let first = try BareGuest.count(in: qemu)
    #expect(first >= count)
    try BareGuest.wait(in: qemu, beyond: first)
  }

  @Test(
    "One that runs while it is taken in is held as it was, and goes on",
    arguments: QEMUVersion.allCases)
  func parked(_ version: QEMUVersion) throws {
    guard isAvailable(version) else { return }
    let folder = try TemporaryFolder()
    let memory = try TemporaryFolder(.memory(bytes: 256 << 20))
    let machine = try BareGuest(in: folder).machine("kvm", type: version.machine(with: version))
    let source = try QEMU(version, machine)
    try BareGuest.wait(in: source, beyond: 0)
    let setup = MigrationSetup(channels: 2, compression: "zstd")
    try setup.apply(to: source, .source)
    let receive = try MultiFDProcess([
      "receive", "--listen", "tcp:127.0.0.1:0", "--store", memory("store"), "--json", "--progress",
      "none",
    ])
    let outcome = try source.migrate(to: try receive.waitListening())
    #expect(outcome.status == "completed")
    let report = try receive.wait()
    #expect(report.code == 0, "\(report)")
    let differ = try RAMComparison.differences(source, memory("store/ram/pc.ram"))
    #expect(differ.count == 0, "\(differ.offsets)")
    let count = try BareGuest.count(in: source)
    source.terminate()

    let destination = try QEMU(version, machine, incoming: "defer")
    try setup.apply(to: destination, .destination)
    let send = try MultiFDProcess.run([
      "send", "--store", memory("store"), "--to", destination.listen(nil), "--channels", "2",
      "--compression", "zstd",
    ])
    #expect(send.code == 0, "\(send)")
    try destination.waitRunning()
    try expectSuccessor(count, destination)
  }

  @Test("One whose primary dies goes on from its last checkpoint", arguments: [0, 2])
  func failover(channels: Int) throws {
    guard isAvailable(.v111) else { return }
    let folder = try TemporaryFolder()
    let primary = try QEMU(.v111, BareGuest(in: folder).machine("kvm"))
    try BareGuest.wait(in: primary, beyond: 0)
    let protection = try Protection(primary, .colo(.v111, channels: channels, delay: 100))
    defer { protection.end() }
    #expect(protection.session.waitCheckpoints(3, .seconds(60)) >= 3)
    let count = try BareGuest.count(in: primary)
    #expect(protection.session.waitCheckpoints(6, .seconds(60)) >= 6)
    let survivor = try protection.failOver()
    #expect(survivor.checkpoint >= 4)
    try expectSuccessor(count, survivor.qemu)
  }
}
