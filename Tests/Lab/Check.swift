import ArgumentParser
import TestSupport

/// The lab tried on itself: the same guests between stock QEMUs alone.
struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Moves the guest between stock QEMUs, without multifd: is the lab itself in order?")

  func run() throws {
    var failed = false
    let guests = SavedGuests()
    for source in QEMUVersion.allCases where source.isAvailableElseAnnounce("QEMU \(source)") {
      for destination in QEMUVersion.allCases where destination.isAvailable {
        do {
          say("\(source) -> \(destination): \(try migrate(source, destination, guests))")
        } catch {
          failed = true
          say("\(source) -> \(destination): FAIL: \(error)")
        }
      }
    }
    if failed { throw ExitCode(1) }
  }

  private func migrate(
    _ source: QEMUVersion, _ destination: QEMUVersion, _ guests: SavedGuests
  ) throws -> String {
    let cell = Passage.Cell(source, destination, channels: 2, compression: "zstd")
    let qemu = try guests.guest(source, cell.machine).start(in: source)
    defer { qemu.terminate() }
    guard let beat = qemu.console.waitHeartbeat(.seconds(60)) else {
      throw LabError("the guest does not beat")
    }
    try qemu.qmp.execute("stop")
    let report = try StockMigration.run(
      qemu, to: destination, MigrationSetup(channels: 2, compression: "zstd"))
    defer { report.destination.terminate() }
    let (pages, count) = try RAMComparison.differences(qemu, report.destination)
    guard count == 0 else { throw LabError("\(count) pages differ, at \(pages)") }
    try report.destination.qmp.execute("cont")
    guard report.destination.console.waitHeartbeat(atLeast: beat.number, .seconds(60)) != nil,
      let check = report.destination.console.fullCheck(), check.bad == 0,
      report.destination.console.trouble.isEmpty
    else {
      throw LabError("the guest is damaged: \(report.destination.console.log.text.suffix(300))")
    }
    return "ok, \(seconds(report.outcome.wall)), \(check.pages) pages right"
  }
}
