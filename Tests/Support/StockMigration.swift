import Foundation

/// The same guest moved between two stock QEMUs, without `multifd`: what the lab is checked with,
/// and what a benchmark compares to.
public enum StockMigration {
  /// A migration that worked.
  public struct Report: Sendable {
    /// As the source saw it.
    public let outcome: MigrationOutcome
    /// The destination, its guest there.
    public let destination: QEMU
    /// Processor time that the source used for it.
    public let sourceProcessorTime: Duration
    /// Processor time that the destination used for it.
    public let destinationProcessorTime: Duration
  }

  /// Migrates the guest of `source`, stopped or running as it is, into a new QEMU `version`.
  public static func run(_ source: QEMU, to version: QEMUVersion, _ setup: MigrationSetup) throws
    -> Report
  {
    let destination = try QEMU(version, source.machine, incoming: "defer")
    try setup.apply(to: source, .source)
    try setup.apply(to: destination, .destination)
    let uri = "tcp:127.0.0.1:\(try destination.listen())"
    let before = (source.process.processorTime, destination.process.processorTime)
    let outcome = try source.migrate(to: uri)
    guard outcome.status == "completed" else {
      throw LabError(
        "\(source.version) -> \(version): \(outcome.statistics.text) "
          + destination.complaints)
    }
    try destination.waitLoaded()
    return Report(
      outcome: outcome, destination: destination,
      sourceProcessorTime: source.process.processorTime - before.0,
      destinationProcessorTime: destination.process.processorTime - before.1)
  }
}
