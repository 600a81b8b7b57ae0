import Glibc
import Transport

/// The QEMUs that a benchmark has started and not yet ended, so that a signal can end them from another thread.
final class BenchChildren: Sendable {
  private let pids = Transport.Monitor<(all: Set<pid_t>, isClosed: Bool)>(([], false))

  /// Starts one, unless all are to end.
  func start(_ arguments: [String]) throws -> pid_t {
    // Under the lock: killAll() meets it, or it is not started.
    let result = pids.update { pids -> Result<pid_t, any Error> in
      guard !pids.isClosed else { return .failure(Failure(.failed, "bench", "it is being ended")) }
      let result = Result { try QEMUProcess.spawn(arguments, outlives: false) }
      if case .success(let pid) = result { pids.all.insert(pid) }
      return result
    }
    return try result.get()
  }

  /// Ends one, unless that has been done.
  func end(_ pid: pid_t) {
    // Waited for under the lock: killAll() never meets a pid that is somebody else's by then.
    pids.update { if $0.all.remove(pid) != nil { QEMUProcess.kill(pid) } }
  }

  /// Makes all of them end, and whoever waits for them give up; there will be no others.
  func killAll() {
    pids.update { pids in
      pids.isClosed = true
      for pid in pids.all { Glibc.kill(pid, SIGKILL) }
    }
  }
}
