import Glibc

/// A minute of a thread's own processor time. A test's time limit would count what the test waits
/// for a thread to run on, which is minutes among many others.
struct ProcessorLimit {
  private struct Exceeded: Error {}

  private let start = now

  /// Throws when it is over. To be asked on the thread that has begun.
  func check() throws {
    guard Self.now - start < 60 else { throw Exceeded() }
  }

  /// Seconds.
  private static var now: Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}
