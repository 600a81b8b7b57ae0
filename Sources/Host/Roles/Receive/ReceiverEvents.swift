import Migration

/// What a reception tells while it goes on, from whatever thread notices it. Must return at once.
public struct ReceiverEvents: Sendable {
  /// The first failure: everything is being ended because of it.
  public var failing: @Sendable (Failure) -> Void = { _ in }
  /// A primary has stopped its guest for a checkpoint, or is about to be told to go on.
  public var primaryStands: @Sendable (Bool) -> Void = { _ in }
  /// A primary is about to be told that there is a standby.
  public var isStandby: @Sendable () -> Void = {}
  /// All of the guest has come, and its source waits for no verdict: it may have let go of it.
  public var arrived: @Sendable () -> Void = {}
  /// The guest is held, and its source knows, if it wanted to know.
  public var settled: @Sendable () -> Void = {}

  /// Nobody listens.
  public init() {}
}
