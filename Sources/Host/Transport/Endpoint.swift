import Glibc

/// Where to listen or connect, written as QEMU writes it.
public enum Endpoint: Equatable, Sendable, CustomStringConvertible {
  /// `tcp:HOST:PORT`; IPv6 addresses in brackets; port 0 listens on any free port.
  case tcp(host: String, port: UInt16)
  /// `unix:PATH`.
  case unix(path: String)
  /// `fd:N`, or `fd:N,M…` to connect: sockets that this process was started with.
  case fd(PassedSockets)

  /// Parses a URI.
  public init(parsing text: String) throws(TransportError) {
    guard let colon = text.firstIndex(of: ":") else {
      throw TransportError(
        .badURI, "'\(text)' is no URI: expected tcp:HOST:PORT, unix:PATH or fd:N")
    }
    let rest = text[text.index(after: colon)...]
    switch text[..<colon] {
    case "tcp":
      guard let last = rest.lastIndex(of: ":"), let port = UInt16(rest[rest.index(after: last)...])
      else { throw TransportError(.badURI, "'\(text)' has no port: expected tcp:HOST:PORT") }
      var host = rest[..<last]
      if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
      self = .tcp(host: String(host), port: port)
    case "unix":
      // sun_path holds 107 bytes and a NUL.
      guard !rest.isEmpty, rest.utf8.count < 108 else {
        throw TransportError(.badURI, "'\(text)': a socket's path has 1 to 107 bytes")
      }
      self = .unix(path: String(rest))
    case "fd": self = .fd(try PassedSockets(parsing: rest, of: text))
    default:
      throw TransportError(
        .badURI, "'\(text)': unknown transport '\(text[..<colon])', expected tcp:, unix: or fd:")
    }
  }

  /// The URI.
  public var description: String {
    switch self {
    case .tcp(let host, let port):
      host.contains(":") ? "tcp:[\(host)]:\(port)" : "tcp:\(host):\(port)"
    case .unix(let path): "unix:\(path)"
    case .fd(let sockets): sockets.uri
    }
  }

  /// The sockets that it stands for, where it stands for sockets.
  public var passed: PassedSockets? { if case .fd(let sockets) = self { sockets } else { nil } }

  /// Calls `body` with each socket address that the endpoint stands for, until one succeeds.
  ///
  /// - Parameter body: returns a result, or nil to have the next address tried.
  func withAddresses<Result>(
    passive: Bool, _ body: (_ family: Int32, UnsafePointer<sockaddr>, socklen_t) -> Result?
  ) throws(TransportError) -> Result? {
    switch self {
    // There are sockets instead.
    case .fd: return nil
    case .unix(let path):
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      let bytes = Array(path.utf8)
      guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
        throw TransportError(.badURI, "\(self): the path is too long")
      }
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
      return withUnsafePointer(to: &address) { pointer in
        // A sockaddr_un is a sockaddr to the socket calls; both live as long as this closure.
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          body(AF_UNIX, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
      }
    case .tcp(let host, let port):
      var hints = addrinfo()
      hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
      hints.ai_flags = (passive ? AI_PASSIVE : 0) | AI_NUMERICSERV
      var list: UnsafeMutablePointer<addrinfo>?
      let status = getaddrinfo(host.isEmpty ? nil : host, String(port), &hints, &list)
      guard status == 0 else {
        throw TransportError(.unreachable, "\(self): \(String(cString: gai_strerror(status)))")
      }
      defer { freeaddrinfo(list) }
      var next = list
      // The list and what it points to belong to getaddrinfo until freeaddrinfo above.
      while let entry = next {
        if let address = entry.pointee.ai_addr,
          let result = body(entry.pointee.ai_family, address, entry.pointee.ai_addrlen)
        {
          return result
        }
        next = entry.pointee.ai_next
      }
      return nil
    }
  }
}
