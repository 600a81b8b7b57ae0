import Glibc

/// A value with a lock and a condition: threads change it and wait for each other's changes.
public final class Monitor<Value>: @unchecked Sendable {
  // Initialised once at a stable address, as pthreads wants them; freed after the last use.
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var value: Value

  /// Starts with a value.
  public init(_ value: sending Value) {
    self.value = value
    pthread_mutex_init(mutex, nil)
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    pthread_cond_init(condition, &attributes)
    pthread_condattr_destroy(&attributes)
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

  /// Waits until `body` gives a result.
  ///
  /// - Parameters:
  ///   - seconds: how long to wait at the most; nil for ever.
  ///   - body: looked at now and after every update; may change the value.
  /// - Returns: the result, or nil when the time is over.
  public func wait<Result>(seconds: Double?, _ body: (inout Value) -> Result?) -> Result? {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    var deadline = timespec()
    if let seconds = seconds.map(\.timeLimit) {
      clock_gettime(CLOCK_MONOTONIC, &deadline)
      let nanos = deadline.tv_nsec + Int((seconds - seconds.rounded(.down)) * 1e9)
      deadline.tv_sec += Int(seconds) + nanos / 1_000_000_000
      deadline.tv_nsec = nanos % 1_000_000_000
    }
    while true {
      if let result = body(&value) {
        pthread_cond_broadcast(condition)
        return result
      }
      if seconds == nil {
        pthread_cond_wait(condition, mutex)
      } else if pthread_cond_timedwait(condition, mutex, &deadline) == ETIMEDOUT {
        return body(&value)
      }
    }
  }
}
