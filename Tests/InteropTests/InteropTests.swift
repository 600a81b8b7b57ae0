// The part of the interop matrix that every `make test` runs: real guests, real stock QEMUs, the
// real executable. `make interop` runs the rest. What needs a QEMU that this machine lacks is
// cancelled loudly, never passed.

import TestSupport
import Testing

/// The matrix with real QEMUs. Not one test at a time: what comes last would then be alone on its
/// machine, and every test waits for virtual machines.
@Suite("Interop with stock QEMU")
struct InteropTests {
  /// Guests that were booted once and saved, for all the tests.
  static let guests = SavedGuests.shared

  /// The QEMUs that `make test` sets up.
  static let versions: [QEMUVersion] = [.v72, .v111]

  /// Boots the guest that the other tests use. This is also the test that is reported as skipped,
  /// with its reason, when a QEMU is missing: of a parametrised test only the cases are cancelled.
  @Test(
    "QEMU 7.2 is here and runs the guest",
    .enabled(if: QEMUVersion.v72.isAvailable, "\(missing(.v72))"))
  func has72() throws { try expectGuestBeats(.v72) }

  @Test(
    "QEMU 11.1 is here and runs the guest",
    .enabled(if: QEMUVersion.v111.isAvailable, "\(missing(.v111))"))
  func has111() throws { try expectGuestBeats(.v111) }

  private func expectGuestBeats(_ version: QEMUVersion) throws {
    let guest = try Self.guests.guest(version, version.machine(with: version))
    let qemu = try guest.start(in: version)
    defer { qemu.terminate() }
    #expect(qemu.console.waitHeartbeat(.seconds(60)) != nil)
    #expect(qemu.console.fullCheck()?.bad == 0)
  }

  private static func missing(_ version: QEMUVersion) -> String {
    "SKIPPED: " + ((version.unavailable ?? Lab.guestUnavailable)?.description ?? "")
  }

  /// Cancels the running test case, saying so on stderr too, when one of `versions` is not there.
  static func require(_ versions: QEMUVersion...) throws {
    for version in versions where !version.isAvailableElseAnnounce("interop, QEMU \(version)") {
      let reason = version.unavailable ?? Lab.guestUnavailable
      try Test.cancel("SKIPPED: \(reason?.description ?? "no QEMU \(version)")")
    }
  }
}
