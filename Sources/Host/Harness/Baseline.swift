/// `perf/baseline`: this run's speed beside that of an earlier one.
enum Baseline {
  /// How much of an earlier figure is still as good: other things run on a machine, too.
  static let tolerance = 0.75

  /// Compares throughput and ratio with a report in the JSON format.
  static func compare(
    _ test: TestDescription, with path: String, results: [String: TestResult]
  ) throws(HarnessFault) -> TestResult {
    guard let bytes = readFile(path), let report = JSONValue(parsing: bytes) else {
      throw HarnessFault("\(path) is not a report of this harness (--format json)", usage: true)
    }
    guard let now = results["perf/throughput"], case .passed = now.outcome else {
      return TestResult(test, .skipped("needs perf/throughput"))
    }
    var earlier: [String: Double] = [:]
    for result in report["results"]?.elements ?? [] {
      for (name, metric) in result["metrics"]?.members ?? [] {
        earlier[name] = metric["value"]?.number
      }
    }
    var result = TestResult(test, .passed)
    var compared = 0
    for metric in now.metrics {
      guard let before = earlier[metric.name], before > 0 else { continue }
      compared += 1
      if metric.value < before * tolerance {
        result.add(
          Finding(
            owner: test.id, seenIn: "perf/throughput",
            message:
              "\(metric.name) is \(figure(metric.value)) \(metric.unit), it was \(figure(before))"))
      }
    }
    if compared == 0 {
      return TestResult(test, .skipped("\(path) has no figures of perf/throughput"))
    }
    return result
  }
}
