// System: threads, what they share, child processes, system calls. Knows nothing of a migration.

import CLinux
import Glibc

/// A value with a lock and a condition: threads change it and wait for each other's changes.
///
/// Lock order, for this and for every other lock of the host. A lock guards one value for the few
/// instructions of a closure, so hardly any two are ever held together. Where they are, it is in
/// this order, the first one first:
///
/// 1. what a role shares among its threads: `Session`, `HandoverControl`, `PrimaryWatch`,
///    `Failover.Control`, `LossPolicy`, `Guardian.State`
/// 2. what one of its parts has: `PageSource`, `RedoWorker`, `Store`'s state, `BackendChoice`,
///    `LinkHost`, `PacketHolder`
/// 3. what all share: `PluginRegistry`
/// 4. a thing that is handed around: `Child`, `ThreadGroup`, `Gate`, `ChunksAhead`
///
/// A closure given to one of these must not reach for a lock of its own or an earlier row. No call
/// that can wait for a peer, for storage or for a backend is made under one, with two exceptions,
/// which are why they are locks: a backend is opened under `BackendChoice`, `LinkHost` and
/// `PluginRegistry`, so that all channels wait for the one that opens it; and a child is ended under
/// `Failover.Control`, so that no second one begins meanwhile.
public final class Monitor<Value: Sendable>: @unchecked Sendable {
  // Initialised once at a stable address, as pthreads wants them; freed after the last use.
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var value: Value

  /// Starts with a value.
  public init(_ value: Value) {
    self.value = value
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  /// Changes the value, and wakes everybody who waits.
  @discardableResult
  public func update<Result>(_ body: (inout Value) -> Result) -> Result {
    pthread_mutex_lock(mutex)
    defer {
      pthread_cond_broadcast(condition)
      pthread_mutex_unlock(mutex)
    }
    return body(&value)
  }

  /// Changes the value, and wakes everybody who waits only where the result says that it is worth
  /// it: for what is changed often and waited for seldom.
  @discardableResult
  public func update<Result>(
    wakes: (Result) -> Bool, _ body: (inout Value) -> Result
  ) -> Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    let result = body(&value)
    if wakes(result) { pthread_cond_broadcast(condition) }
    return result
  }

  /// Looks at the value.
  public func read<Result>(_ body: (Value) -> Result) -> Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return body(value)
  }

  /// Waits until `body` gives a result. Changes nothing, so it wakes nobody.
  ///
  /// - Parameters:
  ///   - seconds: how long to wait at the most; nil for ever.
  ///   - body: looked at now and after every update.
  /// - Returns: the result, or nil when the time is over.
  public func wait<Result>(seconds: Double?, _ body: (Value) -> Result?) -> Result? {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return awaitResult(seconds) { body($0) }
  }

  /// Waits until `body` gives a result, and takes it: the value is changed with it, and everybody
  /// who waits is woken.
  ///
  /// - Parameters:
  ///   - seconds: how long to wait at the most; nil for ever.
  ///   - body: looked at now and after every update; changes the value only where it gives a
  ///     result.
  /// - Returns: the result, or nil when the time is over.
  public func take<Result>(seconds: Double?, _ body: (inout Value) -> Result?) -> Result? {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    let result = awaitResult(seconds, body)
    if result != nil { pthread_cond_broadcast(condition) }
    return result
  }

  /// With the lock held.
  private func awaitResult<Result>(_ seconds: Double?, _ body: (inout Value) -> Result?) -> Result?
  {
    let deadline = seconds.map { clinux_monotonic() + Int64($0.timeLimit * 1e9) }
    while true {
      if let result = body(&value) { return result }
      guard let deadline else {
        pthread_cond_wait(condition, mutex)
        continue
      }
      if clinux_wait_until(condition, mutex, deadline) == ETIMEDOUT { return body(&value) }
    }
  }
}
