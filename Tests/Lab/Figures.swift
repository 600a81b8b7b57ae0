import Foundation
import Results
import TestSupport

/// The one in the middle, in seconds; nan of none.
func median(_ durations: [Duration]) -> Double { Series(durations.map(\.inSeconds)).median }

/// A cell of a table: at least one blank behind it.
func column(_ text: String, _ width: Int) -> String {
  text + String(repeating: " ", count: max(1, width - text.count))
}

/// A line of a table. What has no width, which is the last one, is as long as it is.
func tableLine(_ columns: [String], _ widths: [Int]) -> String {
  columns.enumerated().map { index, text in
    index < widths.count ? column(text, widths[index]) : text
  }.joined()
}

/// What is told on several lines, on one.
func oneLine(_ text: String) -> String {
  text.split(whereSeparator: \.isNewline).joined(separator: " | ")
}

/// The times of a row: median, and between which they lie.
func spread(_ durations: [Duration]) -> String {
  let all = durations.map(\.inSeconds)
  return String(format: "%.3f s (%.3f-%.3f)", median(durations), all.min() ?? 0, all.max() ?? 0)
}
