/// Whose handshake goes on: one begins for little, and costs this side a signature.
///
/// Each host has one step in each round, so whoever comes meanwhile waits for one of each, and not
/// for all of theirs.
struct Handshakes {
  /// As many at once as a source has channels, and its main channel.
  private var begun = Allowance(burst: 300, perSecond: 30)
  private var done: Set<Origin> = []

  /// Everybody has a turn again.
  mutating func beginRound() { done.removeAll(keepingCapacity: true) }

  /// One more begins.
  ///
  /// - Returns: false where its host has begun too many: it has to wait.
  mutating func begin(_ origin: Origin) -> Bool { begun.take(origin) }

  /// Whether a step may be done for a host; it is its only one in this round.
  mutating func isItsTurn(_ origin: Origin) -> Bool { done.insert(origin).inserted }
}
