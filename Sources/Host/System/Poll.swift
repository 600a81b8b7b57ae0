import Glibc

/// poll(2) of one descriptor.
public enum Poll {
  /// Waits for an event on it.
  ///
  /// - Parameters:
  ///   - events: of poll(2).
  ///   - deadline: nil: for ever.
  /// - Returns: false when the time is up. What cannot be waited for shows in what it is waited for.
  public static func wait(
    for events: Int16, on descriptor: Int32, until deadline: ContinuousClock.Instant?
  ) -> Bool {
    var entry = pollfd(fd: descriptor, events: events, revents: 0)
    while true {
      let left = deadline.map { max(0, min(($0 - .now) / .milliseconds(1), 1e9)) }
      let result = poll(&entry, 1, left.map { Int32($0.rounded(.up)) } ?? -1)
      if result > 0 || (result < 0 && errno != EINTR) { return true }
      if result == 0, let deadline, deadline <= .now { return false }
    }
  }
}
