/// A run that is repeated: random input that has found nothing with one seed may with the next.
public enum Seeds {
  /// Runs once for each seed of the settings, and stops at the first that fails, whose report is
  /// the answer; otherwise it is that of the first run. `each` is told the settings of a run before
  /// it starts, and takes its events; `ended` each run's report.
  public static func run(
    _ settings: HarnessSettings,
    each: (HarnessSettings) -> (Harness.Event) -> Void, ended: (RunReport) -> Void = { _ in }
  ) throws(HarnessFault) -> RunReport {
    if let trace = settings.trace { try CallTrace.begin(trace) }
    defer { if let trace = settings.trace { CallTrace.end(trace) } }
    var first: RunReport?
    var tried: [UInt64] = []
    for number in 0..<UInt64(max(1, settings.seedCount)) {
      var settings = settings
      settings.seed &+= number
      // Speed does not follow from a seed.
      if number > 0, let speed = TestPattern("perf") { settings.skip.append(speed) }
      guard number == 0 || Catalogue.all.contains(where: { settings.selects($0) }) else { break }
      var harness = Harness(settings, progress: each(settings))
      var report = try harness.run()
      tried.append(settings.seed)
      report.seeds = tried
      ended(report)
      if report.exitCode != 0 { return report }
      first = first ?? report
    }
    first?.seeds = tried
    guard let first else { throw HarnessFault("no seed, no run", usage: true) }
    return first
  }
}
