import Synchronization

/// A `Mutex` whose order ThreadSanitizer sees.
///
/// A thread that has to wait for a Mutex gets it inside the Swift run-time, which is not
/// instrumented: what the threads then do one after the other is told as a race. An atomic of our
/// own, read first and written last inside the lock, is instrumented where the harness is, and costs
/// two moves.
struct Locked<Value: Sendable>: ~Copyable, Sendable {
  private let mutex: Mutex<Value>
  private let turn = Atomic(false)

  init(_ value: Value) { mutex = Mutex(value) }

  /// What `body` makes of the value, which no other thread touches meanwhile.
  func withLock<Result: Sendable, Failure: Error>(
    _ body: (inout Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try mutex.withLock { value throws(Failure) in
      _ = turn.load(ordering: .acquiring)
      defer { turn.store(true, ordering: .releasing) }
      return try body(&value)
    }
  }
}
