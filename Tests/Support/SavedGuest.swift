import Foundation

/// A booted guest, saved to a file by a plain migration: from it a QEMU is running again in a
/// second or less, where a boot under TCG takes many.
public final class SavedGuest: Sendable {
  /// The machine it runs in.
  public let machine: QEMU.Machine
  private let folder: TemporaryFolder

  /// Boots `machine` in `version` and saves it.
  public init(_ version: QEMUVersion, _ machine: QEMU.Machine) throws {
    self.machine = machine
    folder = try TemporaryFolder()
    let qemu = try QEMU(version, machine)
    defer { qemu.terminate() }
    try qemu.waitBooted()
    try qemu.qmp.execute("stop")
    try MigrationSetup(channels: 0, returnPath: false).apply(to: qemu, .source)
    let outcome = try qemu.migrate(to: "exec:cat >\(folder("stream"))")
    guard outcome.status == "completed" else {
      throw LabError("saving the guest: \(outcome.statistics.text)")
    }
  }

  /// Starts it again in `version` (the one it was saved with, or one that knows its machine type);
  /// it runs. `wrapper` is as `MultiFDProcess`'s.
  public func start(in version: QEMUVersion, wrapper: [String] = []) throws -> QEMU {
    let qemu = try QEMU(
      version, machine, incoming: "exec:cat \(folder("stream"))", wrapper: wrapper)
    try qemu.waitLoaded()
    try qemu.qmp.execute("cont")
    try qemu.waitRunning()
    return qemu
  }
}
