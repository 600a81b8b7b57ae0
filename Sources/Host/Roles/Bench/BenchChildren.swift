import Glibc
import Transport

/// The QEMUs that a benchmark has started and not yet ended, so that a signal can end them from another thread.
final class BenchChildren: Sendable {
  private let pids = Transport.Monitor<Set<pid_t>>([])

  /// Starts one.
  func start(_ arguments: [String]) throws -> pid_t {
    let pid = try QEMUProcess.spawn(arguments, outlives: false)
    pids.update { _ = $0.insert(pid) }
    return pid
  }

  /// Ends one, unless that has been done.
  func end(_ pid: pid_t) {
    // Waited for under the lock: killAll() never meets a pid that is somebody else's by then.
    pids.update { if $0.remove(pid) != nil { QEMUProcess.kill(pid) } }
  }

  /// Makes all of them end, and whoever waits for them give up.
  func killAll() {
    pids.update { for pid in $0 { Glibc.kill(pid, SIGKILL) } }
  }
}
