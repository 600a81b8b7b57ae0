import Certificates

/// `perf/baseline`: this run's speed beside that of an earlier one.
///
/// `perf/throughput` has to be there. What `perf/options` has measured is compared where both runs
/// have it: a level that an author does not use gets slower unseen.
struct Baseline {
  /// Whose figures are compared, and what the names of those begin with.
  private static let sources = [
    (test: "perf/throughput", prefix: "throughput."), (test: "perf/options", prefix: "options."),
  ]

  /// The earlier figures of those tests, by name.
  private let earlier: [String: Double]

  /// How much of an earlier figure is still as good: other things run on a machine, too.
  private static let tolerance = 0.75

  /// The figures of a report in the JSON format. What cannot be a gate is refused before anything
  /// is run: a comparison that is left out in silence would pass.
  init(_ path: String, for selected: [TestDescription]) throws(HarnessFault) {
    guard let bytes = readFile(path), let report = JSONValue(parsing: bytes) else {
      throw HarnessFault("\(path) is not a report of this harness (--format json)", usage: true)
    }
    for id in ["perf/throughput", "perf/baseline"] where !selected.contains(where: { $0.id == id })
    {
      throw HarnessFault("--baseline needs \(id), which is not among the tests to run", usage: true)
    }
    var earlier: [String: Double] = [:]
    for result in report["results"]?.elements ?? [] {
      for (name, metric) in result["metrics"]?.members ?? []
      where Self.sources.contains(where: { name.hasPrefix($0.prefix) }) {
        earlier[name] = metric["value"]?.number
      }
    }
    guard earlier.contains(where: { $0.key.hasPrefix("throughput.") && $0.value > 0 }) else {
      throw HarnessFault("\(path) has no figures of perf/throughput", usage: true)
    }
    self.earlier = earlier
  }

  /// Compares throughput and ratio.
  func compare(_ test: TestDescription, results: [String: TestResult]) -> TestResult {
    guard let throughput = results["perf/throughput"], case .passed = throughput.outcome else {
      return TestResult(test, .skipped("needs perf/throughput"))
    }
    var result = TestResult(test, .passed)
    for source in Self.sources {
      guard let now = results[source.test], case .passed = now.outcome else { continue }
      for metric in now.metrics where isWorse(metric) {
        result.add(
          Finding(
            owner: test.id, seenIn: source.test,
            message: "\(metric.name) is \(figure(metric.value)) \(metric.unit), it was "
              + figure(earlier[metric.name] ?? 0)))
      }
    }
    return result
  }

  /// The tests with a figure that is worse than it was.
  func worse(in results: [String: TestResult]) -> [TestDescription] {
    Self.sources.compactMap { source in
      let isWorse = results[source.test]?.metrics.contains(where: isWorse) == true
      return isWorse ? Catalogue.test(source.test) : nil
    }
  }

  /// Whether more of it is better.
  static func compares(_ metric: Metric) -> Bool {
    sources.contains { metric.name.hasPrefix($0.prefix) }
  }

  private func isWorse(_ metric: Metric) -> Bool {
    guard let before = earlier[metric.name], before > 0 else { return false }
    return metric.value < before * Self.tolerance
  }
}
