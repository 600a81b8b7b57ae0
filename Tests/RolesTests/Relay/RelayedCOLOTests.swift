import Foundation
import TestSupport
import Testing

/// Checkpoints over a link: what a relay must not hold up, and whose end it must pass on.
@Suite(
  "A stock primary behind a relay",
  .enabled(
    if: QEMUVersion.v111.isAvailableElseAnnounce("COLO through relays"),
    "SKIPPED: QEMU 11.1 or its guest is not here"),
  .serialized, .beside)
struct RelayedCOLOTests {
  private static let version = QEMUVersion.v111
  private static let setup = MigrationSetup.colo(version, channels: 2, delay: 100)

  @Test("kill -9 of a primary whose standby is behind a link")
  func standby() throws {
    let primary = try start()
    defer { primary.terminate() }
    let protection = try Protection(primary, Self.setup, relays: ["lz4"])
    defer { protection.end() }
    primary.setLoad(rate: 16)
    #expect(protection.session.waitCheckpoints(10, .seconds(60)) >= 10)
    let survivor = try protection.failOver()
    defer { survivor.qemu.killNow() }
    let beat = try #require(survivor.qemu.console.waitHeartbeat(.seconds(60)))
    #expect(protection.expectedBeats(after: survivor.checkpoint).contains(beat.number))
    _ = try survivor.qemu.checkMemory()
  }

  @Test("kill -9 of a primary whose stock secondary is behind two relays")
  func secondary() throws {
    let primary = try start()
    defer { primary.terminate() }
    let pair = try StockPair(primary, Self.setup, through: ["lz4", nil])
    defer { pair.end() }
    primary.setLoad(rate: 16)
    #expect(pair.session.waitCheckpoints(10, .seconds(60)) >= 10)
    _ = try pair.failOver()
  }

  @Test("migrate_cancel at a healthy primary: it lives, and no copy of its guest is started")
  func cancelled() throws {
    let primary = try start()
    defer { primary.terminate() }
    let protection = try Protection(primary, Self.setup, onLoss: .failover, relays: ["lz4"])
    defer { protection.end() }
    #expect(protection.session.waitCheckpoints(2, .seconds(60)) >= 2)
    try primary.qmp.execute("migrate_cancel")
    let result = try protection.standby.wait(.seconds(60))
    #expect(result.code == 1 && result.errorLine?.contains("it lives") == true, "\(result)")
  }

  private func start() throws -> QEMU {
    let guest = try SavedGuests.shared.guest(Self.version, Self.version.machine(with: Self.version))
    let primary = try guest.start(in: Self.version)
    _ = try #require(primary.console.waitHeartbeat(.seconds(60)))
    return primary
  }
}
