/// A breach of a rule.
public struct Finding: Sendable, Equatable {
  /// The test whose rule is broken.
  public let owner: String
  /// The test that was running.
  public let seenIn: String
  /// What happened.
  public let message: String
  /// A file with the input that does it.
  public var caseFile: String?
}

/// A number that a test measured.
public struct Metric: Sendable, Equatable {
  /// `what.of-what`, unique in a run.
  public let name: String
  /// How much.
  public internal(set) var value: Double
  /// Of what: `MB/s`, `us`, `bytes`, or empty for a ratio.
  public let unit: String
}

/// What became of one test.
public struct TestResult: Sendable {
  /// How it ended.
  public enum Outcome: Sendable, Equatable {
    case passed, failed
    /// It does not apply, or would say again what another has said; with the reason.
    case skipped(String)
    /// Not run, but could have been: something that it needs was not given.
    case missed(String)
    /// Not run because its author has switched it off; with the author's reason.
    case off(String)

    /// Why it was not run; nil when it was.
    public var reason: String? {
      switch self {
      case .passed, .failed: nil
      case .skipped(let reason), .missed(let reason): reason
      case .off(let reason): "off: \(reason)"
      }
    }
  }

  /// The test.
  public let test: TestDescription
  /// How it ended.
  public var outcome: Outcome
  /// Wall time.
  public var seconds = 0.0
  /// What broke its rule, wherever that was seen; the first few.
  public private(set) var findings: [Finding] = []
  /// What it measured.
  public var metrics: [Metric] = []
  /// Tables for people.
  public var texts: [String] = []
  /// False for one that is only here because another test broke its rule.
  var hasRun: Bool

  init(_ test: TestDescription, _ outcome: Outcome) {
    self.test = test
    self.outcome = outcome
    hasRun = outcome != .failed
  }

  /// Whether the rule is broken.
  public var isFailure: Bool { outcome == .failed }

  mutating func add(_ finding: Finding) {
    // Off is off, whoever sees it; but it is not hidden that it was seen.
    if case .off(let reason) = outcome {
      let seen = "; is broken, seen in "
      if !reason.contains(seen) { outcome = .off(reason + seen + finding.seenIn) }
      return
    }
    outcome = .failed
    guard findings.count < 5, !findings.contains(finding) else { return }
    findings.append(finding)
  }
}
