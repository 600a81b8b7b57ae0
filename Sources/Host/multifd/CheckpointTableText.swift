import Chart
import Foundation
import Observe
import Roles

/// The table of `bench checkpoint` for people, and as a picture.
enum CheckpointTableText {
  private static let names = ["multifd", "stock"]

  /// The table: a line for each row, and below a pair what our pause is of the stock secondary's.
  static func text(_ table: CheckpointTable) -> String {
    var lines = [head(table), columns, subcolumns]
    for row in table.rows {
      var line = pad(channels(row), 12) + pad(row.loadText, 12) + pad(row.secondary.rawValue, 9)
      if let failure = row.failure, row.pause == nil {
        lines.append(line + "FAILED: \(failure)")
        continue
      }
      for times in [row.pause, row.transfer, row.commit] { line += cells(times) }
      if let pages = row.pages { line += String(format: "%8.0f", pages) }
      if let failure = row.failure { line += "  FAILED after \(row.pause!.count): \(failure)" }
      lines.append(line)
      guard row.secondary == .stock,
        let ours = table.rows.first(where: {
          $0.secondary == .multifd && $0.channels == row.channels && $0.load == row.load
        }), let ratio = table.ratio(of: ours)
      else { continue }
      lines.append(
        pad("", 24) + pad("ratio", 9) + cell(ratio.mean, "x") + pad("", 9) + cell(ratio.p99, "x"))
    }
    return lines.joined(separator: "\n")
  }

  /// Pauses: bars are means, thin lines go to the 99th percentile.
  static func chart(_ table: CheckpointTable) -> BarChart {
    var chart = BarChart(
      title: "Guest pause per checkpoint, ms: mean, and line to p99", names: names)
    for row in table.rows {
      let name = "\(channels(row)), \(row.loadText)"
      if chart.groups.last?.name != name { chart.groups.append((name, [nil, nil])) }
      guard let pause = row.pause else { continue }
      chart.groups[chart.groups.count - 1].bars[row.secondary == .multifd ? 0 : 1] = BarChart.Bar(
        pause.mean, whisker: pause.p99,
        note: String(
          format: "%@: mean %.2f, p50 %.2f, p99 %.2f, max %.2f ms", row.secondary.rawValue,
          pause.mean, pause.p50, pause.p99, pause.max))
    }
    return chart
  }

  private static func head(_ table: CheckpointTable) -> String {
    var text = "QEMU \(table.primary)"
    if let secondary = table.secondary, secondary != table.primary {
      text += " (secondary \(secondary))"
    }
    text += ", " + (table.memory.map { "load guest of \($0) MiB" } ?? "own guest")
    return text + ", \(table.compression), x-checkpoint-delay \(table.delay) ms, "
      + "\(table.checkpoints) checkpoints a row; milliseconds"
  }

  private static let columns =
    pad("", 33) + pad("   guest pause", 36) + pad("   transfer", 36) + pad("   commit", 36)

  private static let subcolumns =
    pad("channels", 12) + pad("load", 12) + pad("standby", 9)
    + String(repeating: "     mean      p50      p99      max", count: 3) + "   pages"

  private static func channels(_ row: CheckpointTable.Row) -> String {
    row.channels == 0 ? "plain" : "multifd \(row.channels)"
  }

  private static func cells(_ times: Timings.Summary?) -> String {
    guard let times else { return pad("        -", 36) }
    return [times.mean, times.p50, times.p99, times.max].map { cell($0) }.joined()
  }

  private static func cell(_ value: Double, _ unit: String = "") -> String {
    let text = String(format: "%.2f", value) + unit
    return String(repeating: " ", count: max(1, 9 - text.count)) + text
  }

  private static func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.count))
  }
}
