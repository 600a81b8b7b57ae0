import Foundation
import Migration
import System

/// A process that starts another in its own place, and again whenever that is killed: whoever
/// stands between a guest and its network must not stay away.
///
/// If this one is killed the other is, too: whoever ends in order lets packets through that no
/// checkpoint knows of, which is for the operator to want. The guest is protected, and mute, until
/// another one is started.
enum Keeper {
  /// A process that lives for less is not worth another at once.
  private static let shortest = Duration.seconds(5)
  /// So many in a row that lived for less: there is no help.
  private static let mostShort = 3

  /// Does the work in another process, and ends with its exit code. Call it before there is a second
  /// thread.
  static func run(_ work: () throws -> Void) throws(Failure) -> Never {
    Signals.block()
    var waited = sigset_t()
    sigemptyset(&waited)
    for signal in Signals.all + [SIGCHLD] { sigaddset(&waited, signal) }
    // Blocked, or its default would have it lost while nobody waits.
    pthread_sigmask(SIG_BLOCK, &waited, nil)
    var short = 0
    while true {
      let started = ContinuousClock.now
      let pid: pid_t
      do {
        pid = try Fork.start("multifd") { error in
          enterChild()
          Main.finish {
            if let error { throw Failure(error, at: "protect") }
            try work()
          }
        }
      } catch { throw Failure(error, at: "protect") }
      let status = wait(for: pid, waited)
      if let code = status.code { exit(code) }
      short = ContinuousClock.now - started < shortest ? short + 1 : 0
      let why = "ended by \(status)"
      guard short < mostShort else {
        throw Failure(.internalError, "protect", "\(why), again and again")
      }
      Console.note("\(why): another one takes over")
    }
  }

  /// A terminal's keys reach the one that was started, which passes them on.
  private static func enterChild() {
    setpgid(0, 0)
    var set = sigset_t()
    sigemptyset(&set)
    sigaddset(&set, SIGCHLD)
    pthread_sigmask(SIG_UNBLOCK, &set, nil)
  }

  private static func wait(for pid: pid_t, _ signals: sigset_t) -> WaitStatus {
    var signals = signals
    while true {
      var number: Int32 = 0
      sigwait(&signals, &number)
      // Not reaped yet, so it is that process's number.
      if number != SIGCHLD { kill(pid, number) }
      var status: Int32 = 0
      if waitpid(pid, &status, WNOHANG) == pid { return WaitStatus(status) }
    }
  }
}
