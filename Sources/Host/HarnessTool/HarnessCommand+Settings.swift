import ArgumentParser
import Glibc
import Harness

/// What the options mean for a run; what is wrong with them is refused here.
extension HarnessCommand {
  /// What names tests on the command line.
  func patterns(_ texts: [String]) throws -> [TestPattern] {
    try texts.map { text in
      guard let pattern = TestPattern(text) else {
        throw ValidationError("'\(text)' is neither a test, a group, nor a regular expression")
      }
      return pattern
    }
  }

  private func configure(_ settings: inout HarnessSettings) throws {
    guard !noConfig else {
      guard config == nil else { throw ValidationError("--config or --no-config") }
      return
    }
    settings.config = config
    guard let path = config ?? HarnessConfig.path(beside: settings.path) else { return }
    do throws(HarnessFault) { settings.take(try HarnessConfig(path)) } catch {
      throw ValidationError(error.description)
    }
  }

  /// Of the command line and, beneath it, of `harness.toml`.
  func settings() throws -> HarnessSettings {
    guard let file else { throw ValidationError("which backend? multifd-harness FILE.so") }
    var settings = HarnessSettings(path: file)
    try configure(&settings)
    settings.only = try patterns(only)
    settings.skip = try patterns(skip)
    settings.jobs = jobs ?? max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    guard settings.jobs > 0, timeout > 0, fuzzTime ?? 1 > 0 else {
      throw ValidationError("--jobs, --timeout and --fuzz-time are positive numbers")
    }
    if seed == "random" {
      settings.seed = UInt64.random(in: 0...UInt64(Int64.max))
    } else if let number = UInt64(seed) {
      settings.seed = number
    } else {
      throw ValidationError("--seed is a number, or 'random'")
    }
    settings.timeout = timeout
    settings.fuzzSeconds = fuzzTime
    guard (1...64).contains(fuzzJobs) else { throw ValidationError("--fuzz-jobs is 1 to 64") }
    settings.fuzzJobs = fuzzJobs
    settings.corpusFolder = corpusDir
    settings.pageFile = corpus
    guard !quick || level == nil else { throw ValidationError("--quick is --level 5") }
    if quick { settings.level = .quick }
    if let level {
      guard let known = Level(level) else { throw ValidationError("--level is 1 to 10") }
      settings.level = known
    }
    guard seeds ?? 1 > 0 else { throw ValidationError("--seeds is a positive number") }
    if let seeds { settings.seedsWanted = seeds }
    if strict { settings.isStrict = true }
    settings.inProcess = inProcess
    settings.keepsGoing = keepGoing
    let configured = settings.assignments
    settings.assignments = []
    for pair in option {
      let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard sides.count == 2 else { throw ValidationError("'\(pair)' is not key=value") }
      settings.assignments.append((key: String(sides[0]), value: String(sides[1])))
    }
    let given = Set(settings.assignments.map(\.key))
    settings.assignments = configured.filter { !given.contains($0.key) } + settings.assignments
    settings.pluginFolders = pluginDir
    settings.golden = golden
    guard !record || golden != nil else { throw ValidationError("--record needs --golden") }
    settings.records = record
    settings.artifacts = artifacts
    settings.baseline = baseline
    settings.trace = trace
    if onlyFailed {
      guard only.isEmpty else { throw ValidationError("--only or --only-failed") }
      let failed = KeptFailures(settings).tests
      guard !failed.isEmpty else {
        throw ValidationError("--only-failed: nothing failed in an earlier run")
      }
      settings.only = try patterns(failed)
    }
    if let decode {
      guard (1...65536).contains(pages) else { throw ValidationError("--pages is 1 to 65536") }
      settings.decode = Decoding.Request(path: decode, pages: pages)
    }
    if let replay {
      guard let test = CaseFile.test(of: replay) else {
        throw ValidationError("\(replay) is not a case that this harness has written")
      }
      settings.replay = replay
      settings.off = [:]
      settings.only = try patterns([test])
      settings.keepsGoing = true
    }
    return settings
  }
}
