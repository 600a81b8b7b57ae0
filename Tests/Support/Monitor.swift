import Foundation

/// A value behind a lock that threads can wait on: every update wakes the waiters, which look
/// again.
public final class Monitor<State>: @unchecked Sendable {
  // Sendable by hand: `state` is touched only between lock() and unlock().
  private let condition = NSCondition()
  private var state: State

  /// A monitor of `state`.
  public init(_ state: State) { self.state = state }

  /// Changes the value under the lock and wakes every waiter.
  @discardableResult
  public func update<R>(_ body: (inout State) throws -> R) rethrows -> R {
    condition.lock()
    defer {
      condition.broadcast()
      condition.unlock()
    }
    return try body(&state)
  }

  /// Looks at the value under the lock.
  public func read<R>(_ body: (State) throws -> R) rethrows -> R {
    condition.lock()
    defer { condition.unlock() }
    return try body(state)
  }

  /// Waits until `body` gives a value; nil when `timeout` passes first.
  public func wait<R>(_ timeout: Duration, for body: (inout State) throws -> R?) rethrows -> R? {
    let deadline = ContinuousClock.now + timeout
    condition.lock()
    defer { condition.unlock() }
    while true {
      if let value = try body(&state) { return value }
      let left = ContinuousClock.now.duration(to: deadline)
      if left <= .zero { return nil }
      _ = condition.wait(until: Date(timeIntervalSinceNow: left.inSeconds))
    }
  }
}

extension Duration {
  /// This duration in seconds.
  public var inSeconds: Double {
    let (seconds, attoseconds) = components
    return Double(seconds) + Double(attoseconds) * 1e-18
  }
}
