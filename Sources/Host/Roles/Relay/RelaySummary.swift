import Migration
import Observe
import Synchronization
import Transport

/// What a relay amounted to.
public struct RelaySummary: Codable, Sendable {
  /// One multifd channel.
  public struct Channel: Codable, Sendable {
    /// Its number.
    public var id: Int
    /// Packets.
    public var packets: UInt64
    /// Pages with contents.
    public var normal: UInt64
    /// Zero pages.
    public var duplicate: UInt64
    /// Sync points.
    public var syncs: UInt64
    /// Bytes that came.
    public var received: UInt64
    /// Bytes that were sent on.
    public var transferred: UInt64
    /// Bytes of the pages by the bytes of their payloads as they were sent on.
    public var ratio: Double
    /// Seconds in backends. Where what comes is decoded, its arrival is in them.
    public var codecTime: Double
    /// Seconds in which the source had nothing to send.
    public var waitTime: Double

    enum CodingKeys: String, CodingKey {
      case id, packets, normal, duplicate, syncs, received, transferred, ratio
      case codecTime = "codec-time"
      case waitTime = "wait-time"
    }
  }

  /// `migrated`: the destination has said that it has the guest. `passed`: there is no return path,
  /// so it has said nothing. `protected`: there were checkpoints, until the source ended.
  public var result: String
  /// Where the source connected.
  public var from: String
  /// Where the guest went.
  public var to: String
  /// Milliseconds from the connection to the end.
  public var totalTime: Double
  /// Bytes that came.
  public var received: UInt64
  /// Bytes that were sent on.
  public var transferred: UInt64
  /// The backends that pages were sent on with.
  public var compression: String
  /// What was chosen for packets, and why, where there was a choice; else empty.
  public var choices: [FormatUse]
  /// The channels; empty without multifd.
  public var channels: [Channel]

  enum CodingKeys: String, CodingKey {
    case result, from, to, received, transferred, compression, choices, channels
    case totalTime = "total-time"
  }

  init(
    _ options: RelayOptions, _ flow: RelayMain.Flow, _ main: Counters,
    _ traffic: [Int: RelayTraffic], since start: ContinuousClock.Instant, compression: String
  ) {
    let progress = RelayProgress(main, Array(traffic.values), since: start)
    result =
      flow.isProtection ? "protected" : flow.verdict == 0 ? "migrated" : "passed"
    from = options.listen.description
    to = options.to.description
    totalTime = progress.seconds * 1000
    received = progress.received
    transferred = progress.transferred
    self.compression = compression
    choices = FormatUse.sum(traffic.values.map { $0.uses.withLock { $0 } })
    channels = traffic.sorted { $0.key < $1.key }.map { id, traffic in
      let (received, sent) = (traffic.received, traffic.sent)
      let pages = received.normal * UInt64(options.pageSize)
      return Channel(
        id: id, packets: received.packets, normal: received.normal, duplicate: received.duplicate,
        syncs: received.syncs, received: received.bytes, transferred: sent.bytes,
        ratio: sent.payloadBytes > 0 ? Double(pages) / Double(sent.payloadBytes) : 1,
        codecTime: traffic.codec.seconds, waitTime: traffic.waiting.seconds)
    }
  }
}
