import Foundation
import Harness
import Testing
import TestSupport

/// Runs of the harness's library, with the executable beside this one for the child processes.
enum Run {
  static let executable = Lab.executableFolder + "/multifd-harness"

  static func settings(_ path: String) -> HarnessSettings {
    var settings = HarnessSettings(path: path)
    settings.isQuick = true
    settings.executable = executable
    settings.pluginFolders = [Lab.executableFolder]
    settings.jobs = max(2, ProcessInfo.processInfo.activeProcessorCount)
    settings.artifacts = (path as NSString).deletingLastPathComponent
    return settings
  }

  static func run(_ settings: HarnessSettings) throws -> RunReport {
    var harness = Harness(settings)
    return try harness.run()
  }

  /// What failed, with reasons, for a failure's message.
  static func account(_ report: RunReport) -> String {
    report.failures.map { result in
      "\(result.test.id): "
        + result.findings.map { "\($0.message) (in \($0.seenIn))" }
        .joined(separator: "; ")
    }.joined(separator: "\n")
  }
}

/// The harness can fail, for the right reason, and only then.
///
/// Backends are tried side by side, since many a test waits, for a hang or for the last one of its
/// stage.
@Suite(.needsCompiler) struct SelfTests {
  private func report(_ specimen: Specimen) throws -> RunReport {
    let folder = try TemporaryFolder()
    var settings = Run.settings(
      try Compiler.compile(specimen.name, in: folder.path))
    if let beside = specimen.beside {
      let other = folder("beside")
      try FileManager.default.createDirectory(atPath: other, withIntermediateDirectories: false)
      _ = try Compiler.compile(beside, in: other)
      settings.pluginFolders.insert(other, at: 0)
    }
    // Speed is nobody's fault, but for a few. And most of the time goes to tests that are asked to
    // let everything else pass by `make judge` only: those that cost the most, and of a bad backend
    // all that have nothing to do with what is wrong with it.
    let unwanted = Catalogue.all.filter { test in
      !specimen.expected.contains(test.id)
        && (test.group == .perf
          || !Soak.isOn && !specimen.expected.isEmpty && Self.costly.contains(test.id))
    }
    settings.skip = try unwanted.map { try #require(TestPattern($0.id)) }
    if specimen.needsFullRun {
      settings.isQuick = false
      // That takes a minute of each.
      if !Soak.isOn { settings.only = try specimen.expected.map { try #require(TestPattern($0)) } }
    }
    if !Soak.isOn, !specimen.expected.isEmpty, !specimen.needsFullRun {
      settings.only = try (specimen.tried + specimen.expected).map {
        try #require(TestPattern($0))
      }
    }
    // The ones that only random input finds end with the first find.
    settings.fuzzSeconds = specimen.expected.contains { $0.hasPrefix("fuzz/") } ? 5 : 0.05
    // One backend of these hangs on purpose, with everything else done in a fraction of this.
    settings.timeout = specimen.name.hasPrefix("hang") ? 3 : 120
    return try Run.run(settings)
  }

  private static let costly = [
    "lifecycle/cycles", "roundtrip/changing-pages", "roundtrip/packet-sizes",
    "roundtrip/page-sizes", "hostile/bomb", "hostile/length-fields",
    "isolation/concurrent", "isolation/first-packets", "determinism/same-bytes",
    "resources/memory-channels", "resources/memory-failures", "resources/memory-packets",
    "fuzz/decode", "fuzz/encode",
  ]

  @Test("the costly tests are tests")
  func costlyTests() { for id in Self.costly { #expect(Catalogue.test(id) != nil, "\(id)") } }

  @Test(
    "each bad backend is caught by exactly the tests named in its first line",
    arguments: Specimen.bad)
  func caught(specimen: Specimen) throws {
    let report = try report(specimen)
    let failed = Set(report.failures.map(\.test.id))
    print("bad backend \(specimen.name): caught by \(failed.sorted().joined(separator: ", "))")
    #expect(failed.subtracting(specimen.allowed) == specimen.expected, "\(Run.account(report))")
    for id in specimen.expected.union(specimen.allowed) {
      #expect(Catalogue.test(id) != nil, "there is no test \(id)")
    }
    for result in report.failures {
      #expect(!result.findings.isEmpty && result.findings.allSatisfy { !$0.message.isEmpty })
    }
    let cannotLoad = ["load/opens", "load/entry", "abi/magic", "abi/major", "abi/struct-size"]
    #expect(report.exitCode == (failed.isDisjoint(with: cannotLoad) ? 1 : 2))
  }

  @Test("there is a bad backend for most of the rules")
  func coverage() {
    #expect(Specimen.bad.count >= 25 && Specimen.good.count >= 4)
    let covered = Specimen.bad.reduce(into: Set<String>()) { $0.formUnion($1.expected) }
    let groups = Set(covered.compactMap { Catalogue.test($0)?.group })
    let proven: [TestGroup] = [
      .load, .abi, .options, .lifecycle, .roundtrip, .bounds, .hostile, .isolation, .order,
      .flight, .determinism, .resources, .faults, .fuzz,
    ]
    #expect(groups.isSuperset(of: proven))
  }

  @Test("good backends pass", arguments: Specimen.good)
  func good(specimen: Specimen) throws {
    let report = try report(specimen)
    #expect(report.failures.isEmpty, "\(Run.account(report))")
    #expect(report.exitCode == 0 && report.totals.passed > 80)
  }

  /// 20 ms of a processor in each setup, of which a test makes hundreds; 0.15 s for each packet, which
  /// is longer than another channel is waited for that has a fast codec.
  @Test(
    "a backend that is slow, and may be, is not said to hang or to have a lock",
    arguments: [
      ("ON_SETUP", 50, "resources/memory-channels"), ("ON_PREPARE", 7, "perf/scaling"),
    ])
  func slow(place: String, part: Int, test: String) throws {
    let folder = try TemporaryFolder()
    let path = try Compiler.compile(
      "good", as: "slow", in: folder.path,
      flags: [
        "-include", "time.h",
        "-D\(place)=clock_t c = clock(); while (clock() - c < CLOCKS_PER_SEC / \(part)) {}",
      ])
    var settings = Run.settings(path)
    settings.only = [try #require(TestPattern(test))]
    settings.timeout = 12
    let report = try Run.run(settings)
    #expect(report.failures.isEmpty, "\(Run.account(report))")
    #expect(report.totals.passed == 1)
  }

  /// Each end of each option is tried with the others at their defaults, whatever tests are repeated
  /// with options: not all of them go together.
  @Test("ends of different options are not put together")
  func endsApart() throws {
    let folder = try TemporaryFolder()
    var settings = Run.settings(Lab.executableFolder + "/libmultifd-lz4.so")
    settings.isQuick = false
    settings.only = [try #require(TestPattern("order/independent-order"))]
    settings.artifacts = folder.path
    let report = try Run.run(settings)
    #expect(report.failures.isEmpty, "\(Run.account(report))")
  }

  @Test("the built-in backends pass", arguments: ["nocomp", "zlib", "zstd", "lz4", "igzip"])
  func builtIn(name: String) throws {
    if name == "igzip", let reason = Lab.igzipUnavailable {
      reason.announce("the harness on igzip")
      try Test.cancel("SKIPPED: \(reason)")
    }
    let folder = try TemporaryFolder()
    var settings = Run.settings(Lab.executableFolder + "/libmultifd-\(name).so")
    settings.timeout = 300
    settings.golden = GoldenFiles.folder
    settings.artifacts = folder.path
    let report = try Run.run(settings)
    #expect(report.failures.isEmpty, "\(Run.account(report))")
    #expect(report.exitCode == 0 && report.totals.passed > 90)
    #expect(report.backend?.name == name)
    let golden = report.results.first { $0.test.id == "golden/payloads" }
    #expect(golden?.outcome == .passed, "its recordings are in \(GoldenFiles.folder)")
  }
}

/// What earlier versions of the built-in backends have sent.
enum GoldenFiles {
  static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "Golden").path
}
