import Glibc
import System
import Transport

/// A child process that any thread may end. It is signalled only until it has been reaped, so no other
/// process that has got its number can be hit.
final class Child: Sendable {
  /// Its process id.
  let pid: pid_t
  private let leadsGroup: Bool
  /// How it ended, as wait(2) tells; nil while nobody has reaped it.
  private let ended = Monitor<Int32?>(nil)

  /// Starts a process, see ``QEMUProcess/spawn(_:output:outlives:leadsGroup:)``.
  init(
    _ arguments: [String], output: Int32? = nil, outlives: Bool = false, leadsGroup: Bool = false
  ) throws {
    pid = try QEMUProcess.spawn(
      arguments, output: output, outlives: outlives, leadsGroup: leadsGroup)
    self.leadsGroup = leadsGroup
  }

  /// Whether it is there.
  var isAlive: Bool { status == nil }

  /// How it ended; nil while it runs.
  var status: Int32? {
    ended.update { ended in
      if ended == nil {
        var status: Int32 = 0
        if waitpid(pid, &status, WNOHANG) == pid { ended = status }
      }
      return ended
    }
  }

  /// Ends it at once, with its process group if it leads one. One that waits for storage which does not answer dies
  /// when that does, and is not waited for.
  func kill() {
    ended.update { ended in
      // Not reaped while the lock is held: the number is still its own.
      if ended == nil { _ = Glibc.kill(leadsGroup ? -pid : pid, SIGKILL) }
    }
    let deadline = ContinuousClock.now + .seconds(2)
    while status == nil, .now < deadline { usleep(500) }
  }

  /// The exit code in what wait(2) tells; nil when a signal ended it.
  static func exitCode(_ status: Int32) -> Int32? {
    status & 0x7f == 0 ? (status >> 8) & 0xff : nil
  }

  /// `7`, or `signal 9`.
  static func describe(_ status: Int32) -> String {
    exitCode(status).map { "\($0)" } ?? "signal \(status & 0x7f)"
  }
}
