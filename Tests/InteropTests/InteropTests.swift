// The part of the interop matrix that every `make test` runs: real guests, real stock QEMUs, the real executable.
// `make interop` runs the rest. What needs a QEMU that this machine lacks is cancelled loudly, never passed.

import TestSupport
import Testing

/// Everything with a real QEMU, one at a time: each test runs two virtual machines under emulation.
@Suite("Interop with stock QEMU", .serialized)
enum InteropTests {
  /// Guests that were booted once and saved, for all the tests.
  static let guests = SavedGuests()

  /// The QEMUs that `make test` sets up.
  static let versions: [QEMUVersion] = [.v72, .v111]

  /// Cancels the running test case, saying so on stderr too, when one of `versions` is not there.
  static func require(_ versions: QEMUVersion...) throws {
    for version in versions where !version.isAvailableElseAnnounce("interop, QEMU \(version)") {
      let reason = version.unavailable ?? Lab.guestUnavailable
      try Test.cancel("SKIPPED: \(reason?.description ?? "no QEMU \(version)")")
    }
  }
}
