import Synchronization

/// How long something has taken in all. Its thread adds, anybody reads.
public final class Stopwatch: Sendable {
  private let nanoseconds = Atomic<UInt64>(0)

  /// At zero.
  public init() {}

  /// Adds a while.
  public func add(_ duration: Duration) {
    let amount = UInt64(max(0, duration / .nanoseconds(1)))
    // One writer: a plain load and store does, no locked instruction.
    nanoseconds.store(nanoseconds.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
  }

  /// All of it, in seconds.
  public var seconds: Double { Double(nanoseconds.load(ordering: .relaxed)) / 1e9 }
}
