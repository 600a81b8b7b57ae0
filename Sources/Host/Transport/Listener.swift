import CLinux
import Glibc
import Memory

/// A listening socket.
public final class Listener: Sendable {
  let descriptor: Int32
  /// What it really listens on: port 0 has become a number.
  public let endpoint: Endpoint
  private let timeout: Double

  /// Starts to listen.
  ///
  /// - Parameter timeout: for the sockets that are accepted.
  public init(on endpoint: Endpoint, timeout: Double) throws(TransportError) {
    self.timeout = timeout
    if case .unix(let path) = endpoint { Self.removeDeadSocket(path) }
    var failure = SystemError("bind", errno: EADDRNOTAVAIL)
    let descriptor = try endpoint.withAddresses(passive: true) {
      family, address, length -> Int32? in
      let descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
      guard descriptor >= 0 else {
        failure = SystemError("socket")
        return nil
      }
      var on: Int32 = 1
      setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
      if bind(descriptor, address, length) == 0, listen(descriptor, 64) == 0 { return descriptor }
      failure = SystemError("bind")
      close(descriptor)
      return nil
    }
    guard let descriptor else {
      throw TransportError(.unreachable, "cannot listen on \(endpoint): \(failure.reason)")
    }
    self.descriptor = descriptor
    self.endpoint = Self.resolved(endpoint, descriptor)
  }

  deinit {
    close(descriptor)
    if case .unix(let path) = endpoint { unlink(path) }
  }

  /// Accepts one connection that is there already; nil if none is.
  func accept() -> Socket? {
    let accepted = clinux_accept(descriptor)
    guard accepted >= 0 else { return nil }
    return Socket(descriptor: accepted, peer: "the source", timeout: timeout)
  }

  private static func resolved(_ endpoint: Endpoint, _ descriptor: Int32) -> Endpoint {
    guard case .tcp(let host, 0) = endpoint else { return endpoint }
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let port = withUnsafeMutablePointer(to: &storage) { pointer in
      // sockaddr_storage is made to be looked at as any address; the port is at the same place in
      // IPv4 and IPv6.
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        _ = getsockname(descriptor, $0, &length)
      }
      return pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
        UInt16(bigEndian: $0.pointee.sin_port)
      }
    }
    return .tcp(host: host, port: port)
  }

  /// A socket file that nobody listens on any more is in the way of bind(2).
  private static func removeDeadSocket(_ path: String) {
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return }
    if (try? Socket.connect(to: .unix(path: path), timeout: 1)) == nil { unlink(path) }
  }
}
