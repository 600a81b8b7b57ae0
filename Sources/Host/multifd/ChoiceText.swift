import Foundation
import Migration

/// What `--explain` says of the formats that packets were sent in.
enum ChoiceText {
  /// Lines to be added to a summary; each begins with a line break.
  static func lines(_ uses: [FormatUse]) -> String {
    guard !uses.isEmpty else { return "\n  choice       there was none" }
    let total = max(1, uses.reduce(0) { $0 + $1.packets })
    let rows = uses.map { use in
      "\n  choice       \(use.format): \(use.packets) packets "
        + String(format: "(%.0f %%), ", Double(use.packets) * 100 / Double(total))
        + "\(use.best) the fastest, \(use.incompressible) look random, \(use.trials) more tried"
        + (use.rate.map { "; \(Console.bytes(UInt64($0)))/s, " } ?? "; ")
        + String(format: "ratio %.2f", use.ratio)
    }
    let link = uses.first.map {
      "\n  link         \(Console.bytes(UInt64($0.link)))/s a channel, when it was full"
    }
    return rows.joined() + (link ?? "")
  }
}
