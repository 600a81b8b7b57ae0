import Certificates

/// `perf/baseline`: this run's speed beside that of an earlier one.
struct Baseline {
  /// The earlier figures of `perf/throughput`, by name.
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
      where name.hasPrefix("throughput.") {
        earlier[name] = metric["value"]?.number
      }
    }
    guard earlier.values.contains(where: { $0 > 0 }) else {
      throw HarnessFault("\(path) has no figures of perf/throughput", usage: true)
    }
    self.earlier = earlier
  }

  /// Compares throughput and ratio.
  func compare(_ test: TestDescription, results: [String: TestResult]) -> TestResult {
    guard let now = results["perf/throughput"], case .passed = now.outcome else {
      return TestResult(test, .skipped("needs perf/throughput"))
    }
    var result = TestResult(test, .passed)
    for metric in now.metrics {
      guard let before = earlier[metric.name], before > 0 else { continue }
      if metric.value < before * Self.tolerance {
        result.add(
          Finding(
            owner: test.id, seenIn: "perf/throughput",
            message:
              "\(metric.name) is \(figure(metric.value)) \(metric.unit), it was \(figure(before))"))
      }
    }
    return result
  }
}
