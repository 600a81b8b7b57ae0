import Glibc
import System
import TLS

extension Socket {
  /// Waits until a read would not block: something has come, or the connection has ended.
  ///
  /// - Parameter seconds: how long; 0 only looks.
  /// - Returns: false when the time is up.
  public func waitReadable(seconds: Double) -> Bool {
    let deadline = ContinuousClock.now + .seconds(seconds.timeLimit)
    if let tls { return tls.waitReadable(until: deadline) }
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    while true {
      let left = max(0, (deadline - .now) / .milliseconds(1))
      let result = poll(&entry, 1, Int32(min(left.rounded(.up), 1e9)))
      if result != 0 && !(result < 0 && errno == EINTR) { return true }
      if result == 0 && deadline <= .now { return false }
    }
  }
}
