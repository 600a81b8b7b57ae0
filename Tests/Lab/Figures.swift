import Foundation
import Results
import TestSupport

/// The one in the middle, in seconds; nan of none.
func median(_ durations: [Duration]) -> Double { Series(durations.map(\.inSeconds)).median }

/// A cell of a table: at least one blank behind it.
func column(_ text: String, _ width: Int) -> String {
  text + String(repeating: " ", count: max(1, width - text.count))
}

/// The times of a row: median, and between which they lie.
func spread(_ durations: [Duration]) -> String {
  let all = durations.map(\.inSeconds)
  return String(format: "%.3f s (%.3f-%.3f)", median(durations), all.min() ?? 0, all.max() ?? 0)
}
