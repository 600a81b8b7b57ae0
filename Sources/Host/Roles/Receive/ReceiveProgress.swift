import Migration
import Observe

/// How far a reception is: what a progress line shows.
public struct ReceiveProgress: Codable, Sendable {
  /// Bytes that have come over all connections.
  public var transferred: UInt64
  /// Bytes of the guest's RAM; 0 before the block list has come.
  public var total: UInt64
  /// Bytes of the first pass that have not come yet.
  public var remaining: UInt64
  /// Bytes per second since the start.
  public var rate: Double
  /// Pages with contents.
  public var normal: UInt64
  /// Zero pages.
  public var duplicate: UInt64
  /// Seconds since the start.
  public var seconds: Double
}

extension Session {
  func progress(since start: ContinuousClock.Instant, pageSize: Int) -> ReceiveProgress {
    let all = [mainCounters] + channelCounters.map(\.counters)
    let transferred = all.reduce(0) { $0 + $1.bytes }
    let normal = all.reduce(0) { $0 + $1.normal }
    let duplicate = all.reduce(0) { $0 + $1.duplicate }
    let total = ramSize
    let done = (normal + duplicate) * UInt64(pageSize)
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    return ReceiveProgress(
      transferred: transferred, total: total, remaining: total > done ? total - done : 0,
      rate: seconds > 0 ? Double(transferred) / seconds : 0, normal: normal, duplicate: duplicate,
      seconds: seconds)
  }
}
