import Glibc

/// A thread that can be waited for.
struct Thread {
  private let id: pthread_t

  private final class Body: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  init(_ run: @escaping @Sendable () -> Void) {
    var id = pthread_t()
    let error = pthread_create(
      &id, nil,
      { raw in
        // Retained for this thread by the one that made it.
        Unmanaged<Body>.fromOpaque(raw!).takeRetainedValue().run()
        return nil
      }, Unmanaged.passRetained(Body(run)).toOpaque())
    if error != 0 { harnessFault("pthread_create") }
    self.id = id
  }

  /// Waits for its end; once.
  func join() { pthread_join(id, nil) }
}

/// Runs `body` in a thread of its own and waits for it.
func inThread(_ body: () throws(Stop) -> Void) throws(Stop) {
  try withoutActuallyEscaping(body) { body throws(Stop) in
    let errand = Handed(body)
    concurrently(1) { _ in errand.run() }
    if let failure = errand.failure { throw failure }
  }
}

/// @unchecked Sendable: its maker waits while the thread has it.
private final class Handed: @unchecked Sendable {
  private let body: () throws(Stop) -> Void
  private(set) var failure: Stop?

  init(_ body: @escaping () throws(Stop) -> Void) { self.body = body }

  func run() {
    do throws(Stop) { try body() } catch { failure = error }
  }
}

/// Runs `body` in `count` threads at once and waits for all of them.
func concurrently(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  let threads = (0..<count).map { index in Thread { body(index) } }
  for thread in threads { thread.join() }
}
