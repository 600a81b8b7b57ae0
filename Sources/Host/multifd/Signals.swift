import Foundation
import Roles
import Transport

/// Turns SIGINT, SIGTERM and SIGHUP into an orderly end: the peer is told, the store swept.
enum Signals {
  /// Call it before any other thread is started.
  static func watch(_ onSignal: @escaping @Sendable (Roles.ExitCode, String) -> Void) {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&set, signal) }
    pthread_sigmask(SIG_BLOCK, &set, nil)
    // Never joined: it waits for signals as long as the process lives.
    try? Self.group.start("signals") {
      var waited = sigset_t()
      sigemptyset(&waited)
      for signal in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&waited, signal) }
      var number: Int32 = 0
      sigwait(&waited, &number)
      onSignal(.signal(number), "ended by \(String(cString: strsignal(number)))")
      sigwait(&waited, &number)  // whoever asks twice does not want to wait
      exit(128 + number)
    }
  }

  private static let group = ThreadGroup()
}
