import SessionReplay
import Synchronization
import TestSupport
import Testing
import Transport

/// That the waist bears more than the roles that stand on it today.
@Suite("A relay of two lines", .serialized)
struct RelayTests {
  @Test(
    "QEMU to QEMU: a running guest goes through it, and finds all its memory right",
    arguments: [QEMUVersion.v72, .v111])
  func passes(version: QEMUVersion) throws {
    guard version.isAvailableElseAnnounce("the relay, QEMU \(version)") else {
      let reason = version.unavailable ?? Lab.guestUnavailable
      try Test.cancel("SKIPPED: \(reason?.description ?? "no QEMU \(version)")")
    }
    let guest = try SavedGuests.shared.guest(version, version.machine(with: version))
    let source = try guest.start(in: version)
    defer { source.terminate() }
    let destination = try QEMU(version, source.machine, incoming: "defer")
    defer { destination.terminate() }
    let setup = MigrationSetup(channels: 2, compression: "none")
    try setup.apply(to: destination, .destination)
    let port = try destination.listen()
    let relay = try TwoLineRelay(
      to: .tcp(host: "127.0.0.1", port: UInt16(port)), TestBackends.loader)
    // A 7.2 source under TCG loses writes of a running guest by itself: its guest is stopped
    // before.
    let isLive = version > .v72
    if isLive { source.console.setRate(2) } else { try source.qmp.execute("stop") }
    try setup.apply(to: source, .source)
    let outcome = try source.migrate(to: "\(relay.endpoint)")
    relay.end()
    #expect(relay.failure == nil, "\(relay.failure!)")
    #expect(outcome.status == "completed", "\(outcome.statistics.text)")
    // Half of the guest's memory has contents.
    #expect(relay.packets.load(ordering: .relaxed) > 100)
    source.terminate()

    try destination.waitLoaded()
    if !isLive { try destination.qmp.execute("cont") }
    try destination.waitRunning()
    #expect(destination.console.waitHeartbeat(.seconds(60)) != nil)
    destination.console.setRate(0)
    let check = try #require(destination.console.fullCheck())
    #expect(check.bad == 0 && check.pages > 0, "\(check.text)")
  }
}
