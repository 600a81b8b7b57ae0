/// What is run, and how.
public struct HarnessSettings: Sendable {
  /// The library that is tried.
  public var path: String
  /// Names, groups or regular expressions; empty for all tests.
  public var only: [TestPattern] = []
  /// The same, for what is left out.
  public var skip: [TestPattern] = []
  /// Tests that run side by side.
  public var jobs = 2
  /// Where all random numbers come from.
  public var seed: UInt64 = 1
  /// Seconds for one test; the ones that run for a given time have that on top. What a test has to
  /// wait for a processor does not count, up to nine times as much.
  public var timeout: Double = 60
  /// How much is done.
  public var level = Level.full
  /// Seconds for each fuzz test; nil for what the level says.
  public var fuzzSeconds: Double?
  /// How many processes each fuzz test has, at the same time.
  public var fuzzJobs = 1
  /// Where fuzzing keeps the payloads that showed something new, and finds those of earlier runs.
  public var corpusFolder: String?
  /// A raw image of a guest's memory, whose pages take the place of those that look like it.
  public var pageFile: String?
  /// How many seeds are tried, from `seed` on; nil for what the level says.
  public var seedsWanted: Int?
  /// Tests that are not run although they are selected, by name, and why.
  public var off: [String: String] = [:]
  /// The file that `off` and others are from, where it is not the one beside the library.
  public var config: String?
  /// A test that could have run, had it been given what it needs, fails.
  public var isStrict = false
  /// Everything in this process, one test after the other: for a debugger.
  public var inProcess = false
  /// Runs what needs a failed test, too.
  public var keepsGoing = false
  /// The options that the backend is given, as they were written; the others have their defaults.
  /// What the host would refuse, a run refuses.
  public var assignments: [(key: String, value: String)] = []
  /// Folders in which other backends are looked for, before the usual ones.
  public var pluginFolders: [String] = []
  /// The folder of recorded payloads and earlier libraries; made when `records` is set.
  public var golden: String?
  /// Records payloads into `golden`.
  public var records = false
  /// The folder for what fuzzing finds.
  public var artifacts = "."
  /// An earlier report (`--format json`) to compare speed with.
  public var baseline: String?
  /// A case to try again instead of fuzzing.
  public var replay: String?
  /// A file for every callback of the tests, in the format of Chrome's tracing.
  public var trace: String?
  /// A payload to decode, instead of a run: `Harness.decode()`.
  public var decode: Decoding.Request?
  /// The executable that the tests' processes are forked from; it must call
  /// `ChildProcess.runIfAsked()` first.
  public var executable = "/proc/self/exe"

  /// All tests of the library at `path`.
  public init(path: String) { self.path = path }

  /// The same by name.
  public var options: [String: String] {
    get { Dictionary(assignments.map { ($0.key, $0.value) }) { $1 } }
    set { assignments = newValue.sorted { $0.key < $1.key }.map { (key: $0.key, value: $0.value) } }
  }

  /// Fewer rounds of everything.
  public var isQuick: Bool {
    get { level.isQuick }
    set { level = newValue ? .quick : .full }
  }

  /// How many seeds are tried.
  public var seedCount: Int { seedsWanted ?? level.seeds }

  /// Whether a test is part of the run.
  public func selects(_ test: TestDescription) -> Bool {
    level.groups.contains(test.group)
      && (only.isEmpty || only.contains { $0.matches(test) })
      && !skip.contains { $0.matches(test) }
  }

  /// How long a test may take before it counts as hanging.
  func limit(for test: TestDescription) -> Double {
    switch test.group {
    case .fuzz: timeout + fuzzTime
    case .perf: timeout + 60
    default: timeout
    }
  }

  var fuzzTime: Double { fuzzSeconds ?? level.fuzzSeconds }
}

/// Which tests: a name, a group, or a regular expression that is found in the name.
public struct TestPattern: Sendable {
  /// The names of those that it means: an expression is read once.
  private let names: Set<String>

  /// A pattern; nil for a regular expression that is none.
  public init?(_ text: String) {
    guard !text.isEmpty else { return nil }
    let tests: [TestDescription]
    if let test = Catalogue.test(text) {
      tests = [test]
    } else if let group = TestGroup(rawValue: text) {
      tests = Catalogue.all.filter { $0.group == group }
    } else if let expression = try? Regex(text) {
      tests = Catalogue.all.filter { $0.id.firstMatch(of: expression) != nil }
    } else {
      return nil
    }
    names = Set(tests.map(\.id))
  }

  /// Whether it means `test`.
  public func matches(_ test: TestDescription) -> Bool { names.contains(test.id) }
}
