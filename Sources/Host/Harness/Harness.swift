// Harness tries a backend: every rule of multifd_plugin.h that can be seen from outside, each by a
// test of its own in a process of its own, so that a crash, a hang or an exit() is a result.
//
// Reading order: Catalogue (what is tested), Harness and Stage (the run), Errand (what a run has to
// ask of a backend first), Child (a test's process, from outside and from inside), Rules (the tests,
// a file for each group, and what they work with), Config (what its author has decided), TestHost
// (the host that a backend meets here), Content (what it is given), Bench (how fast it is), Report
// (what is told in the end). The head of the file that bears a folder's name, or of its main file,
// tells more.

/// One run over one backend.
public struct Harness {
  /// What is run, and how.
  public let settings: HarnessSettings
  /// Results in the catalogue's order; filled in by `run()`.
  public private(set) var report: RunReport

  private let progress: (Event) -> Void
  private var results: [String: TestResult] = [:]

  /// What a run tells while it runs.
  public enum Event {
    /// A test starts.
    case started(TestDescription)
    /// A test, and all that come before it in a run, are done.
    case finished(TestResult)
  }

  /// A run that has not started.
  public init(_ settings: HarnessSettings, progress: @escaping (Event) -> Void = { _ in }) {
    self.settings = settings
    self.progress = progress
    report = RunReport(settings)
  }

  /// Runs the tests that the settings select. Throws a `HarnessFault` when the harness itself
  /// fails.
  public mutating func run() throws(HarnessFault) -> RunReport {
    defer { zygote = nil }
    try settings.check()
    let catalogued = Catalogue.all.filter { settings.selects($0) }
    guard !catalogued.isEmpty else { throw HarnessFault("no test of that name", usage: true) }
    let baseline: Baseline? =
      if let path = settings.baseline { try Baseline(path, for: catalogued) } else { nil }
    try checkOptions()
    let selected = Stage.allCases.flatMap { stage in catalogued.filter { Stage($0) == stage } }
    for stage in Stage.allCases {
      // The comparison is made here, from what the others have measured.
      var tests = selected.filter {
        Stage($0) == stage
          && ($0.id != "perf/baseline" || settings.baseline == nil || settings.off[$0.id] != nil)
      }
      for test in tests {
        if let reason = settings.off[test.id] { finish(TestResult(test, .off(reason))) }
      }
      tests.removeAll { settings.off[$0.id] != nil }
      if let reason = stage.blocked(by: results, settings: settings) {
        for test in tests { finish(TestResult(test, .skipped(reason))) }
        tests = []
        try forgetBegun()
      }
      let jobs =
        switch stage {
        case .performance: 1
        case .random: max(settings.jobs, settings.fuzzJobs)
        default: settings.jobs
        }
      try run(tests, jobs: jobs, before: stage.sharing, of: selected)
      flush(selected)
    }
    if let baseline, let test = Catalogue.test("perf/baseline"), settings.off[test.id] == nil {
      var result = baseline.compare(test, results: results)
      // Other things run on a machine, too: only what stays slower counts.
      for _ in 0..<3 where result.isFailure {
        for test in baseline.worse(in: results) { try measureAgain(test) }
        result = baseline.compare(test, results: results)
      }
      results[test.id] = result
      results[test.id]?.hasRun = true
      flush(selected)
    }
    report.results = Catalogue.all.compactMap { results[$0.id] }
    return report
  }

  private var flushed = 0

  /// Tests of the next stage, begun where the last ones of a stage left a processor idle. They count
  /// when that stage is reached, and only then.
  private var begun: (running: [RunningChild], done: [ChildAccount]) = ([], [])

  /// Ends what has been begun of a stage that is not going to be run.
  private mutating func forgetBegun() throws(HarnessFault) {
    for child in begun.running { _ = try child.finish() }
    begun = ([], [])
  }

  /// Where the processes of the tests come from; nil before the first, and where they are all run
  /// in this one.
  private var zygote: Zygote?

  private mutating func start(_ test: TestDescription) throws(HarnessFault) -> RunningChild {
    if let zygote { return try RunningChild(test, settings, of: zygote) }
    let first = try Zygote(settings)
    zygote = first
    return try RunningChild(test, settings, of: first)
  }

  /// Refuses options that the host refuses. A backend that cannot be asked, because it does not
  /// open or does not come back, is for the tests to judge.
  private mutating func checkOptions() throws(HarnessFault) {
    guard !settings.assignments.isEmpty else { return }
    let account = try perform(Errand.options)
    if let refusal = account.findings.first(where: { $0.owner == Errand.options.id }),
      account.isComplete
    {
      throw HarnessFault(refusal.message, usage: true)
    }
  }

  /// Decodes the payload that the settings name, and runs nothing else.
  public mutating func decode() throws(HarnessFault) -> Decoding.Outcome {
    defer { zygote = nil }
    try settings.check()
    try checkOptions()
    let account = try perform(Errand.decoding)
    let breaches = account.findings.map {
      $0.owner == Errand.decoding.id ? $0.message : "\($0.owner): \($0.message)"
    }
    let isRefused = account.metrics.contains { $0.name == Decoding.refused }
    return Decoding.Outcome(
      lines: account.texts, breaches: breaches, isGood: breaches.isEmpty && !isRefused)
  }

  /// One test or errand by itself.
  private mutating func perform(_ test: TestDescription) throws(HarnessFault) -> ChildAccount {
    if settings.inProcess { return InProcess.run(test, settings) }
    let child = try start(test)
    RunningChild.wait([child])
    return try child.finish()
  }

  /// - Parameter next: the stage whose tests may be begun when all of these have been; nil: none.
  private mutating func run(
    _ tests: [TestDescription], jobs: Int, before next: Stage?, of selected: [TestDescription]
  ) throws(HarnessFault) {
    if settings.inProcess {
      for test in tests {
        progress(.started(test))
        take(InProcess.run(test, settings))
        flush(selected)
      }
      return
    }
    var waiting = (jobs > 1 ? Stage.longestFirst(tests) : tests).flatMap(workers)[...]
    var running = begun.running
    let early = Set(running.map(\.test.id) + begun.done.map(\.test.id))
    for account in begun.done { take(account) }
    begun = ([], [])
    flush(selected)
    waiting.removeAll { early.contains($0.id) }
    var ahead = selected.filter {
      next != nil && jobs > 1 && Stage($0) == next && settings.off[$0.id] == nil
    }
    ahead = Stage.longestFirst(ahead)
    var accounts: [String: ChildAccount] = [:]
    while !waiting.isEmpty || !running.isEmpty {
      while true {
        let all = running + begun.running
        let taken = all.reduce(0) { $0 + Stage.places(of: $1.test, jobs: jobs) }
        func fits(_ test: TestDescription) -> Bool {
          all.isEmpty || taken + Stage.places(of: test, jobs: jobs) <= jobs
        }
        // The first that has room: one that needs two places does not keep one of them idle.
        if let next = waiting.firstIndex(where: fits) {
          running.append(try begin(waiting.remove(at: next)))
        } else if let next = ahead.firstIndex(where: fits) {
          begun.running.append(try begin(ahead.remove(at: next)))
        } else {
          break
        }
      }
      RunningChild.wait(running + begun.running)
      for index in begun.running.indices.reversed() where begun.running[index].isDone {
        begun.done.append(try begun.running.remove(at: index).finish())
      }
      for index in running.indices.reversed() where running[index].isDone {
        let id = running[index].test.id
        let account = try running.remove(at: index).finish()
        if accounts[id]?.join(account) == nil { accounts[id] = account }
        // The others of its processes are part of the same test.
        guard !(running.map(\.test) + waiting).contains(where: { $0.id == id }) else { continue }
        if let whole = accounts[id] { take(whole) }
        flush(selected)
      }
    }
  }

  private mutating func begin(_ test: TestDescription) throws(HarnessFault) -> RunningChild {
    if test.worker == 0 { progress(.started(test)) }
    return try start(test)
  }

  /// A test for each process that runs it.
  private func workers(_ test: TestDescription) -> [TestDescription] {
    guard test.group == .fuzz, settings.replay == nil else { return [test] }
    return (0..<max(1, settings.fuzzJobs)).map { number in
      var worker = test
      worker.worker = number
      return worker
    }
  }

  /// Runs a test once more and keeps the better of each figure of speed.
  private mutating func measureAgain(_ test: TestDescription) throws(HarnessFault) {
    guard var result = results[test.id] else { return }
    let account = try perform(test)
    for metric in account.metrics where Baseline.compares(metric) {
      guard let index = result.metrics.firstIndex(where: { $0.name == metric.name }),
        result.metrics[index].value < metric.value
      else { continue }
      result.metrics[index] = metric
    }
    results[test.id] = result
  }

  /// Puts what a child found down to the tests whose rules were broken.
  private mutating func take(_ account: ChildAccount) {
    report.backend = account.backend ?? report.backend
    var own = TestResult(account.test, account.skipped ?? .passed)
    own.seconds = account.seconds
    own.metrics = account.metrics
    own.texts = account.texts
    var foreign = false
    for finding in account.findings {
      if finding.owner == account.test.id {
        own.add(finding)
      } else if let owner = Catalogue.test(finding.owner) {
        foreign = true
        var other =
          results[owner.id]
          ?? TestResult(owner, settings.off[owner.id].map { .off($0) } ?? .failed)
        other.add(finding)
        results[owner.id] = other
      }
    }
    if foreign, !account.isComplete || account.wasStopped, case .passed = own.outcome {
      let owners = Set(account.findings.map(\.owner)).sorted()
      own.outcome = .skipped("not finished, see \(owners.joined(separator: ", "))")
    }
    finish(own)
  }

  private mutating func finish(_ result: TestResult) {
    var result = result
    if settings.isStrict, case .missed(let reason) = result.outcome {
      result.add(
        Finding(
          owner: result.test.id, seenIn: result.test.id, message: "was not run: \(reason)"))
    }
    guard let earlier = results[result.test.id] else {
      results[result.test.id] = result
      return
    }
    // Found guilty in another test before it ran itself.
    if case .off = earlier.outcome { return }
    var merged = result
    for finding in earlier.findings { merged.add(finding) }
    results[result.test.id] = merged
  }

  private mutating func flush(_ selected: [TestDescription]) {
    while flushed < selected.count, let result = results[selected[flushed].id],
      result.hasRun || settings.inProcess
    {
      progress(.finished(result))
      flushed += 1
    }
  }
}

/// The harness itself has failed.
public struct HarnessFault: Error, CustomStringConvertible {
  /// What happened.
  public let description: String
  /// True when it was asked for something that there is not.
  public let isUsage: Bool

  /// A fault, in one line.
  public init(_ description: String, usage: Bool = false) {
    self.description = description
    isUsage = usage
  }
}
