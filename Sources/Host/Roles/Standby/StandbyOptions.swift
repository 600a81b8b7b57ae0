import Store

/// What an operator decides about a standby, beyond a reception.
public struct StandbyOptions: Sendable {
  /// Where the pages of checkpoints in flight are kept.
  public var cache = Manifest.Cache.sparse
  /// The guest's disks that are kept with it; nil: none.
  public var disks: DiskOptions?
  /// Seconds without a checkpoint after which the primary counts as lost; nil: never.
  public var checkpointTimeout: Double?

  /// The defaults.
  public init() {}
}
