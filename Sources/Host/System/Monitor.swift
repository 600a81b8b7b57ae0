// System: threads, what they share, child processes, system calls. Knows nothing of a migration.

import CLinux
import Glibc

/// A value with a lock and a condition: threads change it and wait for each other's changes.
///
/// Lock order. Each lock guards one value for the few instructions of a closure, and no call that can wait for a peer,
/// a disk or a backend is made under one; so hardly any two are ever held together. Where they are, it is in this
/// order, the first one first:
///
/// 1. what a role shares among its threads (`Session`, `Failover.Control`, `Guardian.State`)
/// 2. what one of its parts has (`Lobby`, `PageSource`, `RedoWorker`, `BackendChoice`)
/// 3. a thing that is handed around (`Socket`, `Child`, `ThreadGroup`, `RAMBlock`'s chunks)
///
/// A closure given to one of these must not reach for a lock of its own or a higher row.
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

  /// Waits until `body` gives a result, and takes it: the value is changed with it, and everybody who waits is woken.
  ///
  /// - Parameters:
  ///   - seconds: how long to wait at the most; nil for ever.
  ///   - body: looked at now and after every update; changes the value only where it gives a result.
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
