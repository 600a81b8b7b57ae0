import Observe

/// How far a relay is: what a progress line shows.
public struct RelayProgress: Codable, Sendable {
  /// Bytes that have come on multifd channels, and on the main channel from the source.
  public var received: UInt64
  /// Bytes that were sent on.
  public var transferred: UInt64
  /// Bytes per second that were sent on, since the start.
  public var rate: Double
  /// Pages with contents, on multifd channels.
  public var normal: UInt64
  /// Zero pages, on multifd channels.
  public var duplicate: UInt64
  /// Seconds since the start.
  public var seconds: Double

  init(_ main: Counters, _ channels: [RelayTraffic], since start: ContinuousClock.Instant) {
    received = channels.reduce(main.bytes) { $0 + $1.received.bytes }
    transferred = channels.reduce(main.bytes) { $0 + $1.sent.bytes }
    normal = channels.reduce(0) { $0 + $1.received.normal }
    duplicate = channels.reduce(0) { $0 + $1.received.duplicate }
    seconds = (ContinuousClock.now - start) / .seconds(1)
    rate = seconds > 0 ? Double(transferred) / seconds : 0
  }
}
