import Foundation

/// How a migration ended, as one of its two QEMUs sees it.
public struct MigrationOutcome: Sendable {
  /// `completed`, `failed` or `cancelled`.
  public let status: String
  /// What `query-migrate` says: `total-time`, `downtime`, `ram` …
  public let statistics: JSON
  /// From the order to migrate until the end was told.
  public let wall: Duration
}

extension GuestHost {
  /// Orders a migration to `uri`; `wait` for it with `waitMigration`. Gives the moment of the order
  /// and the place in the events from which on it is told.
  public func startMigration(to uri: String) throws -> MigrationOrder {
    let order = MigrationOrder(start: .now, firstEvent: qmp.eventCount)
    try qmp.execute("migrate", ["uri": .string(uri)])
    return order
  }

  /// Waits until the migration has ended either way. Throws at the time-out and when QEMU ends.
  public func waitMigration(_ order: MigrationOrder, _ timeout: Duration = .seconds(180)) throws
    -> MigrationOutcome
  {
    let final = ["completed", "failed", "cancelled"]
    let end = qmp.waitEvent(from: order.firstEvent, timeout) {
      event -> (String, ContinuousClock.Instant)? in
      guard event.name == "MIGRATION", let status = event.data["status"].string,
        final.contains(status)
      else { return nil }
      return (status, event.time)
    }
    guard let (status, time) = end else {
      let state = (try? qmp.execute("query-migrate", timeout: .seconds(5)))?["status"].string
      throw LabError(
        "QEMU \(version): the migration is still \(state ?? "unknown") after \(timeout) "
          + complaints)
    }
    return MigrationOutcome(
      status: status, statistics: try migrationStatistics(), wall: order.start.duration(to: time))
  }

  /// `query-migrate`; a 7.2 fills in the times only just after the end was told.
  private func migrationStatistics() throws -> JSON {
    let deadline = ContinuousClock.now + .seconds(1)
    while true {
      let statistics = try qmp.execute("query-migrate")
      if statistics["status"].string != "completed" || statistics["downtime"] != .null
        || ContinuousClock.now > deadline
      {
        return statistics
      }
      Thread.sleep(forTimeInterval: 0.02)
    }
  }

  /// Migrates to `uri` and waits for the end.
  public func migrate(to uri: String, _ timeout: Duration = .seconds(180)) throws
    -> MigrationOutcome
  {
    try waitMigration(startMigration(to: uri), timeout)
  }

}

extension QEMU {
  /// Makes a QEMU started with `-incoming defer` listen on a free port of an address of its own,
  /// which it gives.
  public func listen(on address: String = "127.0.0.1") throws -> Int {
    // In a network namespace that nobody else uses, all are free.
    let port = try Sockets.freePort()
    try qmp.execute("migrate-incoming", ["uri": .string("tcp:\(address):\(port)")])
    return port
  }
}

/// A migration that was ordered.
public struct MigrationOrder: Sendable {
  /// When.
  public let start: ContinuousClock.Instant
  /// The first event that can be about it.
  public let firstEvent: Int
}
