import Foundation
import Observe
import TestSupport

/// The rows of `protect`, and what they come to.
struct ProtectTable {
  private(set) var failures = 0
  private var inconsistent = 0
  private var rows = 0

  private static let widths = [5, 9, 9, 10, 9, 7, 40, 26, 18, 12]

  /// What the columns are. `offline` is sectors of all disks before the guest went on: bad ones,
  /// and of writes that were being made those that had arrived and those that had not; `packets` the
  /// last IPv4, IPv6 and ARP number that had left the primary, and how many before them had not;
  /// `echo` mean/p99 of round trips; `silence` from the loss to the guest's first step elsewhere,
  /// or the longest in which nothing was heard of it at the primary.
  let head = Self.line([
    "", "before", "loss", "then", "delay", "ckpt", "offline", "packets", "echo ms", "silence ms",
    "guest",
  ])

  var sum: String {
    "\(rows - failures) ok, \(inconsistent) inconsistent, \(failures - inconsistent) failed"
  }

  /// Counts a row; gives its line.
  mutating func add(
    _ prelude: WholeGuest.Prelude, _ loss: WholeGuest.Loss, _ setup: WholeGuest.Setup,
    _ result: Result<WholeGuest.Outcome, any Error>
  ) -> String {
    rows += 1
    var columns = [
      "\(rows)", prelude.rawValue, loss.rawValue, setup.onLoss.rawValue,
      "\(setup.delay)" + (setup.tls.map { " \($0)" } ?? ""),
    ]
    switch result {
    case .success(let outcome): columns += Self.columns(outcome)
    case .failure(let error):
      failures += 1
      if error is Inconsistency { inconsistent += 1 }
      columns.append(
        (error is Inconsistency ? "INCONSISTENT: " : "FAIL: ") + oneLine("\(error)"))
    }
    return Self.line(columns)
  }

  private static func columns(_ outcome: WholeGuest.Outcome) -> [String] {
    func total(_ count: (OfflineDisk) -> Int) -> Int {
      outcome.offline.reduce(0) { $0 + count($1) }
    }
    let offline =
      outcome.offline.isEmpty
      ? "-"
      : "\(total(\.sectors)), \(total(\.bad)) bad, in flight \(total(\.arrived))/\(total(\.underWay))"
    let packets = PacketWitness.Kind.allCases.map { "\(outcome.released[$0] ?? 0)" }
    let trips = Timings.summary(of: outcome.trips).map {
      String(format: "%.1f/%.1f", $0.mean, $0.p99)
    }
    return [
      "\(outcome.checkpoint)", offline,
      packets.joined(separator: "/") + (outcome.missing > 0 ? " (\(outcome.missing) lost)" : ""),
      trips ?? "-",
      String(format: "%.0f", outcome.silence.inSeconds * 1000),
      "\(outcome.check.sectors) sectors, \(outcome.check.bad) bad",
    ]
  }

  private static func line(_ columns: [String]) -> String { tableLine(columns, widths) }
}
