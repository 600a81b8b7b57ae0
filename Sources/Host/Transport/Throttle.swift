import Glibc
import Synchronization

/// Keeps several senders together below a rate: who has sent pays, and waits until the rate allows
/// for it. Nothing is saved up for later while nobody sends. Without a rate that costs two loads.
public final class Throttle: Sendable {
  /// 0: there is no limit.
  private let bytesPerSecond: Atomic<UInt64>
  /// Whoever has sent waits.
  private let held = Atomic(false)
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

  /// Has all that have sent wait from now on, or lets them go on. From any thread.
  public func hold(_ holds: Bool) { held.store(holds, ordering: .relaxed) }

  /// Whether all wait.
  public var isHeld: Bool { held.load(ordering: .relaxed) }

  /// Nobody is to wait any more, for whatever was sent.
  public func open() {
    hold(false)
    limit(bytesPerSecond: 0)
  }

  /// So many bytes were sent: waits for their time to pass.
  public func pay(_ bytes: Int) {
    let rate = bytesPerSecond.load(ordering: .relaxed)
    if rate > 0 { pay(bytes, rate) }
    while isHeld { usleep(10_000) }
  }

  private func pay(_ bytes: Int, _ rate: UInt64) {
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
