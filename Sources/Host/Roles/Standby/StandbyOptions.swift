/// What an operator decides about a standby, beyond a reception.
public struct StandbyOptions: Sendable {
  /// Where the pages of checkpoints in flight are kept.
  public enum Cache: String, Sendable, CaseIterable {
    /// Only those pages, given back after the copy.
    case sparse
    /// A second copy of RAM, as a stock secondary has it.
    case mirror
  }

  /// The cache.
  public var cache = Cache.sparse
  /// Seconds without a checkpoint after which the primary counts as lost; nil: never.
  public var checkpointTimeout: Double?

  /// The defaults.
  public init() {}
}
