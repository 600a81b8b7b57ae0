/// What a reception tells while it goes on, from whatever thread notices it. Must return at once.
public struct ReceiverEvents: Sendable {
  /// The first failure: everything is being ended because of it.
  public var failing: @Sendable (Failure) -> Void = { _ in }
  /// A primary's guest has to stand still from now on (it is about to be told to send a checkpoint), or has been told
  /// to go on.
  public var primaryStands: @Sendable (Bool) -> Void = { _ in }
  /// The guest is held, and its source knows, if it wanted to know.
  public var settled: @Sendable () -> Void = {}

  /// Nobody listens.
  public init() {}
}
