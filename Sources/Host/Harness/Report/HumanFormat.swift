/// A report for people, as it comes.
public struct HumanFormat {
  private let colours: Bool
  private var group: TestGroup?

  /// With or without colours.
  public init(colours: Bool) { self.colours = colours }

  private func paint(_ text: String, _ code: String) -> String {
    colours ? "\u{1b}[\(code)m\(text)\u{1b}[0m" : text
  }

  /// What stands above the results.
  public func head(_ settings: HarnessSettings) -> String {
    "\(settings.path): seed \(settings.seed), level \(settings.level.number)"
      + "\(settings.isStrict ? ", strict" : "")\n"
  }

  /// The one line of a run with another seed.
  public func again(_ report: RunReport) -> String {
    let totals = report.totals
    let seconds = report.results.reduce(0) { $0 + $1.seconds }
    return "\nseed \(report.settings.seed): \(totals.passed) passed, \(totals.failed) failed, "
      + "\(totals.skipped) skipped, \(fixed(seconds, 1)) s of tests\n"
  }

  /// One test's line, and its group's before the first of it.
  public mutating func line(_ result: TestResult) -> String {
    var out = ""
    if group != result.test.group {
      group = result.test.group
      out += "\n\(paint(result.test.group.rawValue, "1")): \(result.test.group.summary)\n"
    }
    let id = padded(result.test.id, 28)
    switch result.outcome {
    case .passed:
      let time = result.seconds >= 0.5 ? "  (\(fixed(result.seconds, 1)) s)" : ""
      out += "  \(paint("ok  ", "32")) \(id) \(result.test.summary)\(time)\n"
    case .failed: out += "  \(paint("FAIL", "31;1")) \(id) \(result.test.summary)\n"
    case .off(let reason): out += "  \(paint("off ", "33")) \(id) \(reason)\n"
    case .skipped(let reason), .missed(let reason):
      out += "  \(paint("skip", "33")) \(id) \(reason)\n"
    }
    return out
  }

  /// Tables, failures in full, totals.
  public func tail(_ report: RunReport) -> String {
    var out = ""
    for result in report.results {
      for text in result.texts { out += "\n\(paint(result.test.id, "1"))\n\(text)\n" }
      let memory = result.metrics.filter { $0.name.hasPrefix("memory.") }
      if !memory.isEmpty {
        let figures = memory.map { "\($0.name.dropFirst(7)) \(fixed($0.value / 1024, 0)) KiB" }
        out += "\n\(paint("memory of a channel", "1")): \(figures.joined(separator: ", "))\n"
      }
    }
    for result in report.failures {
      out += "\n\(paint("FAIL \(result.test.id)", "31;1"))  \(result.test.summary)\n"
      for finding in result.findings {
        let lines = finding.message.split(separator: "\n").joined(separator: "\n  ")
        let place = finding.seenIn == result.test.id ? "" : "  (seen in \(finding.seenIn))"
        out += "  \(lines)\(place)\n    \(report.reproduction(finding))\n"
      }
    }
    let totals = report.totals
    let name = report.backend.map { "\($0.name) \($0.version) (\($0.wireFormat))" }
    let seconds = report.results.reduce(0) { $0 + $1.seconds }
    out += "\n\(name ?? report.settings.path): \(totals.passed) passed, "
    out += totals.failed > 0 ? paint("\(totals.failed) failed", "31;1") : "0 failed"
    let missed = report.missed.count
    out += ", \(totals.skipped) skipped"
    if missed > 0 { out += " (\(missed) of them could have run: --strict)" }
    if totals.off > 0 { out += ", \(totals.off) off" }
    out += ", \(fixed(seconds, 1)) s of tests\n"
    if report.seeds.count > 1 {
      out +=
        report.exitCode == 0
        ? "\(report.seeds.count) seeds passed, \(report.seeds[0]) to \(report.seeds.last!)\n"
        : "seed \(report.settings.seed) is the first that fails, number \(report.seeds.count)\n"
    }
    return out
  }
}
