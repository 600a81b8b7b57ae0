import CLinux
import Glibc

/// The service manager that has started this process and wants to hear from it (sd_notify(3)):
/// datagrams to a socket that the environment names.
public struct ServiceManager: Sendable {
  private let address: [UInt8]
  /// Seconds within which it wants a sign of life; nil: it does not.
  public let watchdog: Double?

  /// Takes what the environment says out of it: children are not to speak for this process. To be
  /// called before there is a second thread.
  ///
  /// - Returns: nil where nobody wants to hear anything.
  public static func takeFromEnvironment() -> ServiceManager? {
    func take(_ name: String) -> String? {
      defer { unsetenv(name) }
      return getenv(name).map { String(cString: $0) }
    }
    let (path, micros, pid) = (take("NOTIFY_SOCKET"), take("WATCHDOG_USEC"), take("WATCHDOG_PID"))
    guard let path,
      let manager = ServiceManager(
        path, watchdog: pid == nil || pid == "\(getpid())" ? micros.flatMap(Double.init) : nil)
    else { return nil }
    return manager
  }

  /// - Parameters:
  ///   - path: a file, or behind an `@` the name of an abstract socket.
  ///   - watchdog: microseconds.
  private init?(_ path: String, watchdog: Double?) {
    var bytes = Array(path.utf8)
    guard bytes.first == UInt8(ascii: "/") || bytes.first == UInt8(ascii: "@"),
      bytes.count < MemoryLayout.size(ofValue: sockaddr_un().sun_path)
    else { return nil }
    if bytes[0] == UInt8(ascii: "@") { bytes[0] = 0 }
    address = bytes
    self.watchdog = watchdog.map { $0 / 1e6 }
  }

  /// Tells it: lines of `NAME=VALUE`. One that does not listen is not waited for.
  public func notify(_ text: String) {
    let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    var name = sockaddr_un()
    name.sun_family = sa_family_t(AF_UNIX)
    // The initialiser has seen that it fits.
    withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: address) }
    let length = MemoryLayout<sa_family_t>.size + address.count
    let bytes = Array(text.utf8)
    // One live address, of which so many bytes are the name.
    _ = withUnsafePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        sendto(
          descriptor, bytes, bytes.count, Int32(MSG_DONTWAIT | MSG_NOSIGNAL), $0,
          socklen_t(length))
      }
    }
  }
}
