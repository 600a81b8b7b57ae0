import Foundation
import Observe
import TestSupport

/// The results of a run of `colo`, a row for each cell.
struct COLOMatrix {
  /// What became of one cell.
  enum Result: CustomStringConvertible {
    case passed(COLOCell.Outcome)
    case failed(String)
    case skipped

    var description: String {
      switch self {
      case .passed(let outcome): "ok, \(outcome.reached) checkpoints"
      case .failed(let reason):
        "FAIL: " + oneLine(reason)
      case .skipped: "skipped"
      }
    }
  }

  var rows: [(cell: COLOCell, result: Result)] = []

  var failures: Int { rows.count { if case .failed = $0.result { true } else { false } } }

  private var skips: Int { rows.count { if case .skipped = $0.result { true } else { false } } }

  var summary: String {
    "\(rows.count - failures - skips) ok, \(failures) failed, \(skips) skipped"
  }

  private static let widths = [62, 7, 13, 15, 15, 15, 12, 12, 9]

  private static let head = [
    "", "ckpts", "pause ms", "transfer ms", "commit ms", "failover ms", "kill/end ms", "memory",
    "bad",
  ]

  /// Times are mean/p99; failover is from `multifd failover`'s start of QEMU to running; kill from
  /// SIGKILL to running, end from the moment at which the kernel had taken the primary apart (the
  /// more memory, the later); with `hold` the operator's own time would count, and is left out.
  var table: String {
    var lines = [Self.line(Self.head)]
    for row in rows {
      switch row.result {
      case .passed(let outcome):
        var line = Self.line(["\(row.cell)"] + Self.columns(row.cell, outcome))
        if !outcome.remark.isEmpty { line += " " + outcome.remark }
        lines.append(line)
      case .failed(let reason):
        lines.append(
          Self.line(["\(row.cell)"]) + "FAIL: " + oneLine(reason))
      case .skipped: lines.append(Self.line(["\(row.cell)"]) + "skipped")
      }
    }
    return lines.joined(separator: "\n")
  }

  private static func line(_ columns: [String]) -> String { tableLine(columns, widths) }

  private static func columns(_ cell: COLOCell, _ outcome: COLOCell.Outcome) -> [String] {
    [
      "\(outcome.reached)", pair(Timings.summary(of: outcome.pauses)),
      pair(outcome.report["transfer"]),
      pair(outcome.report["commit"]),
      outcome.failover["total-time"].double.map { total in
        String(
          format: "%.0f/load %.0f", total, outcome.failover["load-time"].double ?? .nan)
      } ?? "-",
      cell.onLoss == .hold
        ? "-"
        : String(
          format: "%.0f/%.0f", outcome.afterKill.inSeconds * 1000,
          outcome.afterEnd.inSeconds * 1000),
      cell.pair
        ? "-" : String(format: "%.1f MiB", Double(outcome.memory.total) / Double(1 << 20)), "0",
    ]
  }

  static func pair(_ times: Timings.Summary?) -> String {
    times.map { String(format: "%.1f/%.1f", $0.mean, $0.p99) } ?? "-"
  }

  static func pair(_ times: JSON) -> String {
    guard let mean = times["mean"].double, let p99 = times["p99"].double else { return "-" }
    return String(format: "%.1f/%.1f", mean, p99)
  }

  var json: JSON {
    .array(
      rows.map { cell, result in
        var object: [String: JSON] = [
          "source": .string("\(cell.source)"), "channels": .integer(Int64(cell.channels)),
          "compression": .string(cell.compression), "delay": .integer(Int64(cell.delay)),
          "rate": .integer(Int64(cell.rate)), "cache": .string(cell.cache),
          "memory": .integer(Int64(cell.memory)),
          "on-loss": .string(cell.onLoss.rawValue), "and-back": .bool(cell.andBack),
          "link": .string(cell.link), "pair": .bool(cell.pair),
        ]
        switch result {
        case .passed(let outcome):
          object["result"] = "ok"
          object["checkpoints"] = .integer(Int64(outcome.reached))
          object["failed-over-from"] = .integer(Int64(outcome.failedOverFrom))
          object["pause"] = Timings.summary(of: outcome.pauses).map(\.json) ?? .null
          object["standby"] = outcome.report
          object["failover"] = outcome.failover
          object["after-kill-ms"] = .number(outcome.afterKill.inSeconds * 1000)
          object["after-end-ms"] = .number(outcome.afterEnd.inSeconds * 1000)
          object["memory-peak"] = .integer(Int64(outcome.memory.total))
          object["pages-checked"] = .integer(Int64(outcome.pages))
        case .failed(let reason):
          object["result"] = "failed"
          object["reason"] = .string(reason)
        case .skipped: object["result"] = "skipped"
        }
        return .object(object)
      })
  }
}

extension Timings.Summary {
  var json: JSON {
    [
      "count": .integer(Int64(count)), "mean": .number(mean), "p50": .number(p50),
      "p99": .number(p99), "max": .number(max),
    ]
  }
}
