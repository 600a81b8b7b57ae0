import Glibc
import Synchronization

/// Keeps several senders together below a rate: who has sent pays, and waits until the rate allows
/// for it. Nothing is saved up for later while nobody sends. Without a rate that costs a load.
public final class Throttle: Sendable {
  /// 0: there is no limit.
  private let bytesPerSecond: Atomic<UInt64>
  /// When all that was paid for is through.
  private let due = Mutex(ContinuousClock.now)

  /// - Parameter bytesPerSecond: 0: as many as go.
  public init(bytesPerSecond: UInt64) { self.bytesPerSecond = Atomic(bytesPerSecond) }

  /// Another rate from now on; 0: as many as go. From any thread.
  public func limit(bytesPerSecond: UInt64) {
    self.bytesPerSecond.store(bytesPerSecond, ordering: .relaxed)
    // What was sent so far is paid for.
    due.withLock { $0 = .now }
  }

  /// So many bytes were sent: waits for their time to pass.
  public func pay(_ bytes: Int) {
    let rate = bytesPerSecond.load(ordering: .relaxed)
    guard rate > 0 else { return }
    let cost = Duration.seconds(Double(bytes) / Double(rate))
    let mine = due.withLock { due in
      due = max(due, .now) + cost
      return due
    }
    // A wait that is shorter than the kernel's slack is left for the next. In steps: there may be
    // another rate meanwhile.
    while case let wait = mine - .now, wait > .milliseconds(1),
      bytesPerSecond.load(ordering: .relaxed) == rate
    {
      usleep(UInt32(min(wait / .microseconds(1), 100_000)))
    }
  }
}
