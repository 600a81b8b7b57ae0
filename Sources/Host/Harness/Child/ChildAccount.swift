/// What one child said and how it ended.
struct ChildAccount {
  let test: TestDescription
  var backend: BackendIdentity?
  var findings: [Finding] = []
  var metrics: [Metric] = []
  var texts: [String] = []
  /// Why it was not run; nil when it was.
  var skipped: TestResult.Outcome?
  var wasStopped = false
  /// The test ran to its end.
  var isComplete = false
  var seconds = 0.0

  init(_ test: TestDescription) { self.test = test }

  /// One account of two processes that have run the same test.
  mutating func join(_ other: ChildAccount) {
    backend = backend ?? other.backend
    findings += other.findings
    for metric in other.metrics {
      if let index = metrics.firstIndex(where: { $0.name == metric.name }) {
        metrics[index].value += metric.value
      } else {
        metrics.append(metric)
      }
    }
    texts += other.texts
    skipped = skipped ?? other.skipped
    wasStopped = wasStopped || other.wasStopped
    isComplete = isComplete && other.isComplete
    seconds = max(seconds, other.seconds)
  }

  mutating func take(_ line: ReportLine) {
    switch line {
    case .backend(let name, let version, let format):
      backend = BackendIdentity(name: name, version: version, wireFormat: format)
    case .finding(let owner, let message): add(message, owner)
    case .crash(let owner, let message): add(message, owner.isEmpty ? test.id : owner)
    case .metric(let name, let value, let unit):
      metrics.append(Metric(name: name, value: value, unit: unit))
    case .text(let text): texts.append(text)
    case .skipped(let reason): skipped = .skipped(reason)
    case .missed(let reason): skipped = .missed(reason)
    case .stopped: wasStopped = true
    case .done: isComplete = true
    }
  }

  mutating func add(_ message: String, _ owner: String? = nil) {
    findings.append(Finding(owner: owner ?? test.id, seenIn: test.id, message: message))
  }
}
