import TestSupport
import Testing

@Suite("Relays whose peers are killed", .serialized, .beside)
struct RelayKillTests {
  @Test(
    "The guest goes on, whole, on one side, and nobody waits",
    arguments: RelayKill.Victim.allCases)
  func kill(_ victim: RelayKill.Victim) throws {
    guard QEMUVersion.v111.isAvailableElseAnnounce("killing relays") else {
      let reason = QEMUVersion.v111.unavailable ?? Lab.guestUnavailable
      try Test.cancel("SKIPPED: \(reason?.description ?? "no QEMU")")
    }
    let saved = try SavedGuests.shared.guest(.v111, QEMUVersion.v111.machine(with: .v111))
    // Well inside of the migration, which takes a second.
    let end = try RelayKill(victim, after: 0.4).run(saved)
    #expect(end == (victim == .source ? .died : .stayed))
  }
}
