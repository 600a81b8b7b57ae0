import Observe

/// What a checkpoint costs: a row for each way of protecting a guest.
public struct CheckpointTable: Codable, Sendable {
  /// Who takes the checkpoints.
  public enum Secondary: String, Codable, Sendable {
    /// `receive --colo`.
    case multifd
    /// A second QEMU.
    case stock
  }

  /// One way. Times are milliseconds.
  public struct Row: Codable, Sendable {
    /// `multifd-channels`; 0 is without multifd.
    public var channels: Int
    /// MiB/s that the load guest rewrites; nil for a guest of the operator's own.
    public var load: Int?
    /// Who takes the checkpoints.
    public var secondary: Secondary
    /// How long the guest stood still: STOP to RESUME on the primary's clock.
    public var pause: Timings.Summary?
    /// VMSTATE_SEND to VMSTATE_RECEIVED, on the primary's clock: memory and devices. Our standby
    /// answers when it has committed: its transfer includes that.
    public var transfer: Timings.Summary?
    /// Our standby's commit, measured there. Of a stock secondary RECEIVED to LOADED, in which it
    /// copies its cache to the guest and loads the devices.
    public var commit: Timings.Summary?
    /// Pages of a checkpoint, on average; our standby counts them.
    public var pages: Double?
    /// Why there are no figures, or those of fewer checkpoints.
    public var failure: String?
  }

  /// The primary's version, as it says: `11.1.3`.
  public var primary: String
  /// The secondary's, if there is one.
  public var secondary: String?
  /// `x-checkpoint-delay`, ms.
  public var delay: Int
  /// Checkpoints of each row.
  public var checkpoints: Int
  /// MiB of the load guest's RAM; nil for a guest of the operator's own.
  public var memory: Int?
  /// `multifd-compression`.
  public var compression: String
  /// The rows: ours, and below it the stock secondary's.
  public var rows: [Row]

  /// Our row's pause in terms of the stock secondary's in the same conditions; nil where one is
  /// missing.
  public func ratio(of row: Row) -> (mean: Double, p99: Double)? {
    guard row.secondary == .multifd, let ours = row.pause,
      let stock = rows.first(where: {
        $0.secondary == .stock && $0.channels == row.channels && $0.load == row.load
      })?.pause
    else { return nil }
    return (ours.mean / stock.mean, ours.p99 / stock.p99)
  }
}
