/// What a standby is doing, or whoever fails over for it. The only way to change it is
/// ``advance(to:)``.
///
///     precopy -> ready -> receiving 1 -> committing 1 -> committed 1 -> receiving 2 ...
///                  |           |              |               |
///                  '-----------'-----> lost <-'---------------'
///                                       | ^
///                                       v |
///                                  failing over
///
/// Before the end of *precopy* there is no standby, but a reception. From *ready* on the guest can
/// always be continued: from checkpoint 0, the end of precopy, or from the last one that was
/// committed.
public enum StandbyState: Equatable, Sendable, CustomStringConvertible {
  /// The guest has come in for the first time, and its primary does not know it yet.
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

  /// Changes the state.
  ///
  /// - Returns: false if there is no such way; nothing changes then. That is a fault of this
  ///   program: in what order a primary may speak is the decoder's to see.
  public mutating func advance(to next: StandbyState) -> Bool {
    let allowed =
      switch (self, next) {
      case (.precopy, .ready): true
      case (.ready, .receiving(1)): true
      case (.receiving(let now), .committing(let next)): now == next
      case (.committing(let now), .committed(let next)): now == next
      case (.committed(let now), .receiving(let next)): now + 1 == next
      case (.ready, .lost(0)): true
      case (.receiving(let now), .lost(let last)), (.committing(let now), .lost(let last)):
        now == last + 1
      case (.committed(let now), .lost(let last)): now == last
      case (.lost(let now), .failingOver(let next)): now == next
      // No QEMU has it.
      case (.failingOver(let now), .lost(let last)): now == last
      default: false
      }
    if allowed { self = next }
    return allowed
  }

  /// As `multifd status` shows it.
  public var description: String {
    switch self {
    case .precopy: "precopy"
    case .ready: "ready"
    case .receiving(let number): "receiving \(number)"
    case .committing(let number): "committing \(number)"
    case .committed(let number): "committed \(number)"
    case .lost(let number): "lost \(number)"
    case .failingOver(let number): "failing over \(number)"
    }
  }

  /// The checkpoint that a failover would continue from; nil before there is one.
  public var lastCommitted: Int? {
    switch self {
    case .precopy: nil
    case .ready: 0
    case .receiving(let number), .committing(let number): number - 1
    case .committed(let number), .lost(let number), .failingOver(let number): number
    }
  }
}
