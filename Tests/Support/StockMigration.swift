import Foundation

/// The same guest moved between two stock QEMUs, without `multifd`: what the lab is checked with, and what a
/// benchmark compares to.
public enum StockMigration {
  /// A migration that worked.
  public struct Report: Sendable {
    /// As the source saw it.
    public let outcome: MigrationOutcome
    /// The destination, its guest there.
    public let destination: QEMU
  }

  /// Migrates the guest of `source`, stopped or running as it is, into a new QEMU `version`.
  public static func run(_ source: QEMU, to version: QEMUVersion, _ setup: MigrationSetup) throws
    -> Report
  {
    let destination = try QEMU(version, source.machine, incoming: "defer")
    try setup.apply(to: source, .source)
    try setup.apply(to: destination, .destination)
    let outcome = try source.migrate(to: "tcp:127.0.0.1:\(destination.listen())")
    guard outcome.status == "completed" else {
      throw LabError(
        "\(source.version) -> \(version): \(outcome.statistics.text) "
          + destination.complaints)
    }
    try destination.waitLoaded()
    return Report(outcome: outcome, destination: destination)
  }
}
