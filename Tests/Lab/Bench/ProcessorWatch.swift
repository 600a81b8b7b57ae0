import Foundation
import TestSupport

/// The processor time of `multifd` and its worker. A process that ends before its worker is gone,
/// as it does on a busy machine, does not count what that has used: so it is looked at.
final class ProcessorWatch: Sendable {
  private struct State {
    /// By process.
    var seen: [pid_t: Duration] = [:]
    var hasEnded = false
  }

  private let process: ChildProcess
  private let state = Monitor(State())

  /// Looks a hundred times a second, until all of them are gone.
  init(_ process: ChildProcess) {
    self.process = process
    let state = state
    Thread.detachNewThread {
      var family: Set<pid_t> = [process.pid]
      while !family.isEmpty {
        if process.isRunning { family.formUnion(StandbyMemory.family(of: process.pid)) }
        for pid in family {
          // One that only waits to be reaped has been seen.
          guard let now = ChildProcess.look(at: pid), !now.isZombie else {
            family.remove(pid)
            continue
          }
          state.update { $0.seen[pid] = now.processorTime }
        }
        Thread.sleep(forTimeInterval: 0.01)
      }
      state.update { $0.hasEnded = true }
    }
  }

  /// User and system time of all of them, when they have ended.
  func end() -> Duration {
    _ = state.wait(.seconds(10)) { $0.hasEnded ? true : nil }
    // What it has waited for counts as its own, and then all of it does.
    return max(process.processorTime, state.read { $0.seen.values.reduce(.zero, +) })
  }
}
