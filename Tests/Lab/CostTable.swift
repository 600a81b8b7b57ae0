import Foundation
import Observe
import Results
import TestSupport

/// The table of `protect-cost`: a row for each way, and what its guests were before.
struct CostTable {
  private static let widths = [20, 26, 28, 18]
  private let ways: [CostWay]
  private let costs: [Cost]

  /// Of ways and what they have cost, in the same order.
  init(_ ways: [CostWay], _ costs: [Cost]) { (self.ways, self.costs) = (ways, costs) }

  /// All of it.
  var text: String {
    let head = [
      "mean/median/p99, ms", "write of 4 KiB + sync", "echo, round trip", "stream, MB/s",
      "pause (count)",
    ]
    // All guests that were not protected yet, but for those without a disk, are one and the same.
    let alone = costs.map(\.alone)
    var all = Cost.Figures()
    for figures in alone {
      all.writes += figures.writes
      all.trips += figures.trips
      all.streams += figures.streams
    }
    let rows =
      [["unprotected"] + Self.columns(all) + ["-"]]
      + zip(ways, costs).map { way, cost in
        let pauses = cost.pauses.isEmpty ? "-" : Self.times(cost.pauses) + " (\(cost.pauses.count))"
        return [way.name] + Self.columns(cost.protected) + [pauses]
      }
    return ([head] + rows).map(Self.line).joined(separator: "\n")
  }

  private static func columns(_ figures: Cost.Figures) -> [String] {
    [
      times(figures.writes), times(figures.trips),
      String(format: "%.2f", Series(figures.streams).median / 1e6),
    ]
  }

  private static func times(_ times: [Duration]) -> String {
    guard let summary = Timings.summary(of: times) else { return "-" }
    return String(format: "%.2f / %.2f / %.2f", summary.mean, summary.p50, summary.p99)
  }

  private static func line(_ columns: [String]) -> String { tableLine(columns, widths) }
}
