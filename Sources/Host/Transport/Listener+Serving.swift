import Glibc
import System

extension Listener {
  /// Waits for the next connection.
  ///
  /// - Returns: nil when nothing has come for so long, or one could not be accepted now, or its
  ///   host has made too many.
  /// - Throws: when it has ended.
  public func next(within seconds: Double) throws(TransportError) -> Socket? {
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    let patience = Int32(min(max(seconds * 1000, 0), 60_000))
    guard poll(&entry, 1, patience) >= 0 || errno == EINTR, !hasEnded,
      entry.revents & Int16(POLLHUP | POLLERR | POLLNVAL) == 0
    else { throw TransportError(.closed, "\(endpoint) is not listened on any more") }
    guard entry.revents & Int16(POLLIN) != 0 else { return nil }
    do {
      guard case .socket(let socket) = try accept() else { return nil }
      return socket
    } catch {
      // No descriptor, no memory: it waits, and so do we.
      usleep(100_000)
      return nil
    }
  }
}
