import CHarness
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
  var failure: Stop?
  withHanded({
    do throws(Stop) { try body() } catch { failure = error }
  }) { handed in concurrently(1) { _ in handed.body() } }
  if let failure { throw failure }
}

/// Runs `body` in a thread that has so many bytes of stack, and waits for it. 0, or an errno value.
func onStack(_ size: Int, _ body: () -> Void) -> Int32 {
  withHanded(body) { charness_on_stack(size, Handed.call, $0.raw) }
}

/// Runs `one`, and meanwhile `other`, each in a thread of its own: `charness_meet`. How long `one`
/// took, in nanoseconds. Where the other wants what the one has, both are waited for so long.
func meet(
  after delay: UInt64, patience: UInt64 = 100_000_000, _ one: () -> Void, _ other: () -> Void
) -> UInt64 {
  var time: UInt64 = 0
  let error = withHanded(one) { one in
    withHanded(other) {
      charness_meet(delay, patience, Handed.call, one.raw, Handed.call, $0.raw, &time)
    }
  }
  if error != 0 { harnessFault("pthread_create") }
  return time
}

/// Hands out a closure of somebody who waits until nobody calls it any more.
private func withHanded<Result>(_ body: () -> Void, _ use: (Handed) -> Result) -> Result {
  withoutActuallyEscaping(body) { body in
    let handed = Handed(body)
    return withExtendedLifetime(handed) { use(handed) }
  }
}

/// A closure for another thread.
///
/// @unchecked Sendable: its maker waits while another thread has it.
private final class Handed: @unchecked Sendable {
  let body: () -> Void

  init(_ body: @escaping () -> Void) { self.body = body }

  /// As C has it, with ``call``; good as long as this object lives.
  var raw: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

  static let call: @convention(c) (UnsafeMutableRawPointer?) -> Void = { raw in
    // What ``raw`` has given out, of an object whose maker waits.
    Unmanaged<Handed>.fromOpaque(raw!).takeUnretainedValue().body()
  }
}

/// Runs `body` in `count` threads at once and waits for all of them.
func concurrently(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  let threads = (0..<count).map { index in Thread { body(index) } }
  for thread in threads { thread.join() }
}
