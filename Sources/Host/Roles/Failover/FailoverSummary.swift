/// What a failover amounted to.
public struct FailoverSummary: Codable, Sendable {
  /// `failed-over`.
  public var result = "failed-over"
  /// The new QEMU.
  public var pid: Int32
  /// The checkpoint it continues from; nil for a guest that was simply held.
  public var checkpoint: Int?
  /// Milliseconds from the start of QEMU, or of feeding the spare, to `running`.
  public var totalTime: Double
  /// Milliseconds of it in which what a QEMU still needs that was rehearsed with was sent and
  /// loaded.
  public var loadTime: Double
  /// What its monitor says: `running`, `paused` for a guest that was not running, or `unknown` when
  /// the monitor failed after QEMU had said that it has the guest.
  public var status: String
  /// Blocks that QEMU has mapped from the store.
  public var mapped: [String]

  enum CodingKeys: String, CodingKey {
    case result, pid, checkpoint, status, mapped
    case totalTime = "total-time"
    case loadTime = "load-time"
  }
}
