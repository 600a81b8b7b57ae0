/// How much of everything a run of `bench page` does, so that all of it takes ten minutes on two
/// cores, or one. Every part has a time after which it begins no more rounds; one it always does.
struct BenchPlan {
  /// A guest, a compression, and how many channels.
  struct Lane {
    let compression: String
    let channels: [Int]
    /// MiB.
    let memory: Int
    /// The store is on what systems have, and not on huge pages.
    var isOnSmallPages = false
    /// All of it by TLS.
    var isTLS = false
  }

  /// What is moved, smaller where it is slower; and for how many seconds in all.
  var lanes: [Lane]
  var transferSeconds: Double
  var codecSeconds: Double
  /// Whether codecs are measured for some tenths of a second each, or for hundredths.
  var codecsInFull: Bool
  /// `multifd bench checkpoint`: its rows, and how many checkpoints each has in a round.
  var checkpointChannels: [Int]
  var checkpointLoads: [Int]
  var checkpoints: Int
  var checkpointSeconds: Double
  var failoverSeconds: Double
  /// No part does more.
  var rounds: Int

  /// Ten minutes.
  static let normal = BenchPlan(
    lanes: [
      Lane(compression: "none", channels: [1, 2, 4, 8], memory: 1024),
      Lane(compression: "none", channels: [2], memory: 1024, isOnSmallPages: true),
      Lane(compression: "none", channels: [1, 4], memory: 1024, isTLS: true),
      Lane(compression: "zstd", channels: [1, 2, 4, 8], memory: 512),
      Lane(compression: "zlib", channels: [2, 8], memory: 256),
    ],
    transferSeconds: 300, codecSeconds: 50, codecsInFull: true, checkpointChannels: [0, 4],
    checkpointLoads: [0, 32], checkpoints: 12, checkpointSeconds: 130, failoverSeconds: 80,
    rounds: 5)

  /// One minute.
  static let quick = BenchPlan(
    lanes: [
      Lane(compression: "none", channels: [2], memory: 512),
      Lane(compression: "zstd", channels: [2], memory: 256),
    ],
    transferSeconds: 20, codecSeconds: 3, codecsInFull: false, checkpointChannels: [4],
    checkpointLoads: [32], checkpoints: 8, checkpointSeconds: 10, failoverSeconds: 12, rounds: 3)
}

/// Rounds of a measurement: as many as there is time for, and at least one.
struct Rounds {
  private let deadline: ContinuousClock.Instant
  private let most: Int
  private(set) var number = 0
  /// The longest so far: one that would go over the time is not begun.
  private var longest = Duration.zero
  private var began: ContinuousClock.Instant?

  init(seconds: Double, most: Int) {
    deadline = .now + .seconds(seconds)
    self.most = most
  }

  /// Whether there is to be another.
  mutating func next() -> Bool {
    let now = ContinuousClock.now
    if let began { longest = max(longest, began.duration(to: now)) }
    guard number == 0 || number < most && now + longest <= deadline else { return false }
    began = now
    number += 1
    return true
  }
}
