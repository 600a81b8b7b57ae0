import Foundation

/// Saved guests by the QEMU and machine they were made with, each booted once, when it is first
/// asked for.
public final class SavedGuests: Sendable {
  private let made = Monitor<[String: SavedGuest]>([:])
  private let adjust: @Sendable (inout QEMU.Machine) -> Void

  /// The usual ones, for all the tests of a run.
  public static let shared = SavedGuests()

  /// An empty collection; `adjust` changes the machine before it is booted.
  public init(adjust: @escaping @Sendable (inout QEMU.Machine) -> Void = { _ in }) {
    self.adjust = adjust
  }

  /// The guest that `version` saved on machine type `type`.
  public func guest(_ version: QEMUVersion, _ type: String) throws -> SavedGuest {
    // Under the lock: whoever asks for the same guest waits for it instead of booting a second one.
    try made.update { made in
      let key = "\(version) \(type)"
      if let guest = made[key] { return guest }
      var machine = QEMU.Machine(type: type)
      adjust(&machine)
      let guest = try SavedGuest(version, machine)
      made[key] = guest
      return guest
    }
  }
}
