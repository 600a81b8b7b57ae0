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
    return Poll.wait(for: Int16(POLLIN), on: descriptor, until: deadline)
  }

  /// How many bytes must have arrived before poll(2) says so.
  func setLowWaterMark(_ count: Int) {
    // Records are other bytes than what they mean.
    guard tls == nil else { return }
    var value = Int32(count)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVLOWAT, &value, socklen_t(MemoryLayout<Int32>.size))
  }
}
