/// What a standby is doing. The only way to change it is ``advance(to:)``.
///
///     listening -> precopy -> ready -> receiving 1 -> committing 1 -> committed 1 -> receiving 2 ...
///         |           |         |           |                             |
///         v           v         '-----------'------------> lost <---------'
///      refused     refused                                  |
///                                                           v
///                                                     failing over
///
/// *refused*: nothing was taken over, the guest is the primary's. From *ready* on the standby can always
/// continue the guest: from checkpoint 0, the end of precopy, or from the last one that was committed.
public enum StandbyState: Equatable, Sendable, CustomStringConvertible {
  /// Nobody has connected.
  case listening
  /// The guest comes in for the first time.
  case precopy
  /// It is here, as of the end of precopy; no checkpoint yet.
  case ready
  /// The primary has asked for checkpoint N, or is sending it.
  case receiving(Int)
  /// All of checkpoint N is here.
  case committing(Int)
  /// From here on N is what a failover continues from.
  case committed(Int)
  /// The primary is gone; N is the last committed checkpoint.
  case lost(Int)
  /// A QEMU is being started on checkpoint N.
  case failingOver(Int)
  /// The guest was not taken over.
  case refused

  /// Changes the state.
  ///
  /// - Returns: false if there is no such way; nothing changes then.
  public mutating func advance(to next: StandbyState) -> Bool {
    let allowed =
      switch (self, next) {
      case (.listening, .precopy), (.precopy, .ready): true
      case (.listening, .refused), (.precopy, .refused): true
      case (.ready, .receiving(1)): true
      case (.receiving(let now), .committing(let next)): now == next
      case (.committing(let now), .committed(let next)): now == next
      case (.committed(let now), .receiving(let next)): now + 1 == next
      case (.ready, .lost(0)): true
      case (.receiving(let now), .lost(let last)), (.committing(let now), .lost(let last)):
        now == last + 1
      case (.committed(let now), .lost(let last)): now == last
      case (.lost(let now), .failingOver(let next)): now == next
      default: false
      }
    if allowed { self = next }
    return allowed
  }

  /// As `multifd status` shows it.
  public var description: String {
    switch self {
    case .listening: "listening"
    case .precopy: "precopy"
    case .ready: "ready"
    case .receiving(let number): "receiving \(number)"
    case .committing(let number): "committing \(number)"
    case .committed(let number): "committed \(number)"
    case .lost(let number): "lost \(number)"
    case .failingOver(let number): "failing over \(number)"
    case .refused: "refused"
    }
  }

  /// The checkpoint that a failover would continue from; nil before there is one.
  public var lastCommitted: Int? {
    switch self {
    case .listening, .precopy, .refused: nil
    case .ready: 0
    case .receiving(let number), .committing(let number): number - 1
    case .committed(let number), .lost(let number), .failingOver(let number): number
    }
  }
}
