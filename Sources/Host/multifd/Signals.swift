import CLinux
import Foundation
import Migration
import Roles
import System
import Transport

/// Turns SIGINT, SIGTERM and SIGHUP into an orderly end: the peer is told, the store swept.
enum Signals {
  /// Those that ask for an end.
  static let all = [SIGINT, SIGTERM, SIGHUP]
  private static let group = ThreadGroup()

  /// From here on they wait, in this process and in those it forks, until somebody watches for
  /// them.
  static func block() {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in all { sigaddset(&set, signal) }
    pthread_sigmask(SIG_BLOCK, &set, nil)
  }

  /// Call it before any other thread is started.
  ///
  /// - Parameters:
  ///   - onSecond: whoever asks twice does not want to wait: called directly before the process
  ///     ends.
  ///   - onSignal: called for the first one.
  static func watch(
    onSecond: @escaping @Sendable () -> Void = {},
    _ onSignal: @escaping @Sendable (Failure.Kind, String) -> Void
  ) {
    block()
    do {
      // Never joined: it waits for signals as long as the process lives.
      try Self.group.start("signals") {
        var waited = sigset_t()
        sigemptyset(&waited)
        for signal in all { sigaddset(&waited, signal) }
        var number: Int32 = 0
        sigwait(&waited, &number)
        onSignal(.signal(number), "ended by \(String(cString: strsignal(number)))")
        sigwait(&waited, &number)
        onSecond()
        // No destructors under threads that still run.
        _exit(128 + number)
      }
    } catch {
      // Then they do what they do to everybody.
      var set = sigset_t()
      sigemptyset(&set)
      for signal in all { sigaddset(&set, signal) }
      pthread_sigmask(SIG_UNBLOCK, &set, nil)
    }
  }
}
