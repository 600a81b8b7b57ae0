/// How much a run does, from 1 to 10: what one word in a script or a table of hosts can say.
///
/// Up to 4 a run is a part of the tests, which says little about a backend. 5 is what a host can
/// rely on; each level above it does the same longer.
public struct Level: Sendable, Equatable {
  /// 1…10.
  public let number: Int
  /// Fewer rounds of everything.
  public let isQuick: Bool
  /// Takes what time there is to take: nothing is left out for being slow.
  public var isLong: Bool { number >= 8 }
  /// For each of the fuzz tests.
  public let fuzzSeconds: Double
  /// How often the run is repeated, each time with the next seed.
  public let seeds: Int
  /// The groups that are run.
  public let groups: Set<TestGroup>

  /// `--quick`: a host loads it, and every rule holds in its quick form.
  public static let quick = all[4]
  /// What is run unless told otherwise.
  public static let full = all[6]

  /// The level of that number; nil for another than 1…10.
  public init?(_ number: Int) {
    guard Self.all.indices.contains(number - 1) else { return nil }
    self = Self.all[number - 1]
  }

  private init(
    _ number: Int, quick: Bool = false, fuzz: Double, seeds: Int = 1,
    groups: [TestGroup] = TestGroup.allCases
  ) {
    self.number = number
    isQuick = quick
    fuzzSeconds = fuzz
    self.seeds = seeds
    self.groups = Set(groups)
  }

  /// Plugins.md has this as a table, with what each is for.
  private static let all = [
    Level(1, quick: true, fuzz: 0, groups: [.load]),
    Level(2, quick: true, fuzz: 0, groups: [.load, .abi]),
    Level(3, quick: true, fuzz: 0, groups: [.load, .abi, .options, .lifecycle]),
    Level(
      4, quick: true, fuzz: 0, groups: [.load, .abi, .options, .lifecycle, .roundtrip, .bounds]),
    Level(5, quick: true, fuzz: 0.1),
    Level(6, fuzz: 1),
    Level(7, fuzz: 2),
    Level(8, fuzz: 60, seeds: 3),
    Level(9, fuzz: 300, seeds: 5),
    Level(10, fuzz: 1800, seeds: 10),
  ]
}
