// What is told in the end: TestResult is one test's, RunReport the whole run's; HumanFormat writes
// it for people, Formats for programs (TAP, JUnit, JSON), and Report+Certificate
// makes a certificate of it.

/// The backend as its table names it.
public struct BackendIdentity: Sendable, Equatable {
  /// As an operator types it.
  public let name: String
  /// For people.
  public let version: String
  /// `NAME/N`.
  public let wireFormat: String
}

/// What became of a run.
public struct RunReport: Sendable {
  /// How it was run.
  public let settings: HarnessSettings
  /// Who was tried; nil when the library could not be asked.
  public var backend: BackendIdentity?
  /// The seeds that have been tried; all of them passed but the last, of which this is the report
  /// when anything has failed.
  public var seeds: [UInt64] = []
  /// In the catalogue's order.
  public var results: [TestResult] = []

  init(_ settings: HarnessSettings) { self.settings = settings }

  /// Results that count as failures.
  public var failures: [TestResult] { results.filter(\.isFailure) }

  /// How many passed, failed, were not run, and were switched off.
  public var totals: (passed: Int, failed: Int, skipped: Int, off: Int) {
    let failed = failures.count
    let passed = results.count { $0.outcome == .passed }
    let off = results.count { if case .off = $0.outcome { true } else { false } }
    return (passed, failed, results.count - failed - passed - off, off)
  }

  /// Those that were not run and could have been.
  public var missed: [TestResult] {
    results.filter { if case .missed = $0.outcome { true } else { false } }
  }

  /// 0 all pass, 1 failures, 2 cannot be loaded.
  public var exitCode: Int32 {
    let loading = ["load/opens", "load/entry", "abi/magic", "abi/major", "abi/struct-size"]
    if failures.contains(where: { loading.contains($0.test.id) }) { return 2 }
    return failures.isEmpty ? 0 : 1
  }

  /// The command that shows a finding again.
  public func reproduction(_ finding: Finding) -> String {
    if let file = finding.caseFile {
      return "multifd-harness \(shellWord(settings.path)) --replay \(shellWord(file))"
    }
    var words = ["multifd-harness", shellWord(settings.path), "--only", finding.seenIn]
    words += ["--seed", String(settings.seed)]
    if settings.isQuick { words.append("--quick") }
    if let pages = settings.pageFile { words += ["--corpus", shellWord(pages)] }
    if let config = settings.config { words += ["--config", shellWord(config)] }
    for (key, value) in settings.options.sorted(by: { $0.key < $1.key }) {
      words += ["--option", shellWord("\(key)=\(value)")]
    }
    return words.joined(separator: " ")
  }
}

/// `text` as a shell takes it for one word.
func shellWord(_ text: String) -> String {
  let plain = text.utf8.allSatisfy {
    switch $0 {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: "/._-=+:,".utf8.contains($0)
    }
  }
  if plain, !text.isEmpty { return text }
  return "'"
    + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''")
    + "'"
}
