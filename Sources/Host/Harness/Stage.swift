/// Tests that can be run side by side; each stage needs the gates of the ones before it.
enum Stage: Int, CaseIterable {
  case opening, entering, table, basics, packets, rules, plain, random, performance

  init(_ test: TestDescription) {
    switch (test.group, test.isGate) {
    case (.load, true): self = test.id == "load/opens" ? .opening : .entering
    case (.load, _): self = .table
    // The host's own loader refuses for the same reasons in other words; the others do without
    // guard pages.
    case (.resources, _): self = .plain
    case _ where ["abi/host-accepts", "lifecycle/cycles", "faults/address-space"].contains(test.id):
      self = .plain
    // These move pages.
    case (.abi, false) where ["constant", "later-host"].contains(test.name): self = .rules
    case (.abi, _): self = .table
    case (.fuzz, _): self = .random
    case (.perf, _): self = .performance
    case (.roundtrip, true): self = .packets
    case (_, true): self = .basics
    default: self = .rules
    }
  }

  /// The next one, where its tests can be run beside the last ones of this stage: random input needs
  /// what was found before, and speed a machine to itself.
  var sharing: Stage? {
    Stage(rawValue: rawValue + 1).flatMap { [.random, .performance].contains($0) ? nil : $0 }
  }

  /// Tests in the order in which they are started where some run side by side: the long ones first,
  /// so that none of them is left to run alone in the end.
  static func longestFirst(_ tests: [TestDescription]) -> [TestDescription] {
    let first = long.compactMap { id in tests.first { $0.id == id } }
    return first + tests.filter { !long.contains($0.id) }
  }

  /// How many of the tests that run side by side a test stands for; where none do, each is one.
  static func places(of test: TestDescription, jobs: Int) -> Int {
    if jobs == 1 { return 1 }
    // Its guest has to run while it encodes itself.
    if test.id == "roundtrip/changing-pages" { return 2 }
    return waiting.contains(test.id) ? 0 : 1
  }

  /// These wait for a connection or for their own threads nearly all of their time.
  private static let waiting: Set = [
    "faults/slow-connection", "isolation/silent-peer", "resources/memory-threads",
  ]

  /// What takes longest with most backends. What is slow with some options `options/ends` finds out,
  /// so the others that would have to come later.
  private static let long = [
    "roundtrip/long-stream", "options/ends", "isolation/first-packets", "bounds/payload-bound",
    "isolation/concurrent", "roundtrip/page-sizes", "hostile/truncated", "faults/connection-lost",
    "determinism/same-bytes", "roundtrip/packet-sizes", "roundtrip/payload-sizes",
    "roundtrip/changing-pages", "options/apart", "options/combinations", "isolation/options",
    "roundtrip/stream", "hostile/length-fields", "hostile/extremes", "hostile/bomb",
    "determinism/processes", "resources/memory-failures", "resources/memory-channels",
    "resources/memory-packets", "lifecycle/cycles",
  ]

  /// Why nothing of this stage is run; nil when it is.
  func blocked(by results: [String: TestResult], settings: HarnessSettings) -> String? {
    if settings.keepsGoing { return nil }
    for test in Catalogue.all where Stage(test).rawValue < rawValue {
      guard let result = results[test.id], result.isFailure else { continue }
      // Random input would only find again what ordered input has found.
      let covers: Set<TestGroup> =
        switch self {
        case .plain: [.load, .abi, .roundtrip, .bounds]
        case .random: [.roundtrip, .bounds, .hostile]
        default: []
        }
      if test.isGate || covers.contains(test.group) { return "needs \(test.id)" }
    }
    return nil
  }
}
