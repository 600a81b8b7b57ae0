import Glibc
import Synchronization

/// Whether a channel may be used: one call at a time, none after a failure, one cleanup.
final class ChannelState: Sendable {
  private enum Value: UInt8 {
    case ready, busy, failed, closed
  }

  /// What errors are about: backend and channel.
  let what: String
  private let value = Atomic<UInt8>(Value.ready.rawValue)
  private let failed = Atomic<Bool>(false)

  init(what: String) { self.what = what }

  /// Takes the channel for one call. Acquire and release make each call see the effects of the one
  /// before, whatever thread that was in.
  func enter() throws(PluginError) {
    let (done, seen) = value.compareExchange(
      expected: Value.ready.rawValue, desired: Value.busy.rawValue, ordering: .acquiring)
    guard !done else { return }
    let why: String
    switch Value(rawValue: seen) {
    case .busy: why = "is used by two threads at once"
    case .failed: why = "has failed before and can only be closed"
    default: why = "is closed"
    }
    throw PluginError(.internalFault, what: what, why: why)
  }

  /// Gives it back. Only after enter(), by the same caller.
  func leave() {
    let next: Value = failed.load(ordering: .relaxed) ? .failed : .ready
    value.store(next.rawValue, ordering: .releasing)
  }

  /// Notes between enter() and leave() that this was the last packet.
  func fail() { failed.store(true, ordering: .relaxed) }

  /// True for the one caller that has to clean up.
  func close() -> Bool {
    for from in [Value.ready, Value.failed] {
      let (done, _) = value.compareExchange(
        expected: from.rawValue, desired: Value.closed.rawValue,
        ordering: .acquiringAndReleasing)
      if done { return true }
    }
    return false
  }
}

/// Memory for one C struct, all zero: every pointer in it is NULL, even where Swift's type says
/// that it cannot be, so such members are set before they are read. Freed by deallocate().
func zeroed<T: BitwiseCopyable>(_ type: T.Type) -> UnsafeMutablePointer<T> {
  let memory = UnsafeMutablePointer<T>.allocate(capacity: 1)
  memset(memory, 0, MemoryLayout<T>.size)
  return memory
}
