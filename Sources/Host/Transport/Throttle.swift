import Glibc
import Synchronization

/// Keeps several senders together below a rate: who has sent pays, and waits until the rate allows
/// for it. Nothing is saved up for later while nobody sends.
public final class Throttle: Sendable {
  private let bytesPerSecond: Double
  /// When all that was paid for is through.
  private let due = Mutex(ContinuousClock.now)

  /// - Parameter bytesPerSecond: more than 0.
  public init(bytesPerSecond: UInt64) { self.bytesPerSecond = Double(max(bytesPerSecond, 1)) }

  /// So many bytes were sent: waits for their time to pass.
  public func pay(_ bytes: Int) {
    let cost = Duration.seconds(Double(bytes) / bytesPerSecond)
    let wait = due.withLock { due in
      let now = ContinuousClock.now
      due = max(due, now) + cost
      return due - now
    }
    // A wait that is shorter than the kernel's slack is left for the next.
    guard wait > .milliseconds(1) else { return }
    usleep(UInt32(min(wait / .microseconds(1), 3_600_000_000)))
  }
}
