import Observe

/// What a standby has seen: counts and times of its checkpoints.
public struct StandbyReport: Codable, Sendable {
  /// The last committed checkpoint.
  public var checkpoint = 0
  /// REPLY to LOADED: how long the primary's guest stood still, as far as this side can tell.
  public var pause: Timings.Summary?
  /// VMSTATE_SEND to the last byte of device state.
  public var transfer: Timings.Summary?
  /// The last byte of device state to the commit.
  public var commit: Timings.Summary?
  /// Pages of all checkpoints.
  public var pages = 0
  /// The most memory that the cache has held, in bytes.
  public var cachePeak = 0

  private var pauses = Timings()
  private var transfers = Timings()
  private var commits = Timings()

  enum CodingKeys: String, CodingKey {
    case checkpoint, pause, transfer, commit, pages
    case cachePeak = "cache-peak"
  }

  init() {}

  mutating func add(
    _ number: Int, pause: Duration, transfer: Duration, commit: Duration, pages: Int,
    cacheBytes: Int
  ) {
    checkpoint = number
    pauses.record(pause)
    transfers.record(transfer)
    commits.record(commit)
    self.pages += pages
    cachePeak = max(cachePeak, cacheBytes)
  }

  /// With the times summed up.
  var summed: StandbyReport {
    var report = self
    guard checkpoint > 0 else { return report }
    report.pause = pauses.summary
    report.transfer = transfers.summary
    report.commit = commits.summary
    return report
  }
}
