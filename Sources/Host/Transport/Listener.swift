import CLinux
import Glibc
import Synchronization
import System
import TLS

/// A listening socket, or what was passed to this process in place of one.
public final class Listener: Sendable {
  /// Readable when there may be somebody to accept.
  let descriptor: Int32
  /// What it really listens on: port 0 has become a number.
  public let endpoint: Endpoint
  /// Seconds of silence that its connections may begin with.
  let timeout: Double
  /// The file of a UNIX socket.
  private let file: SocketFile?
  private let passed: PassedListener?
  /// For messages: who is at the other end of each.
  private let peer: String
  /// What its connections must begin with a handshake for; nil: they must not.
  private let tls: TLSCredentials?
  /// How many connections of a host are looked at: as many at once as several sources make, with
  /// all the channels that there can be.
  private let allowance = Mutex(Allowance(burst: 1000, perSecond: 200))
  /// How many may wait to be accepted, if the system gives as much room: a moment's flood.
  static let backlog = 1024

  /// Starts to listen. A UNIX socket's file is for this user only.
  ///
  /// - Parameters:
  ///   - timeout: for the sockets that are accepted.
  ///   - tls: what is shown and asked for in each connection's handshake, which whoever accepts it
  ///     has to see to; nil: there is none.
  ///   - insecure: without TLS others than this machine may connect all the same.
  ///   - peer: who they are, for messages.
  /// - Throws: `exposed` where they could and may not. What it is really bound to decides.
  public init(
    on endpoint: Endpoint, timeout: Double, tls: TLSCredentials? = nil, insecure: Bool = false,
    peer: String = "the source"
  ) throws(TransportError) {
    try Self.check(endpoint, tls: tls, insecure: insecure)
    self.timeout = timeout
    self.tls = tls
    self.peer = peer
    if case .fd(let sockets) = endpoint {
      let passed = try PassedListener(sockets)
      (self.passed, descriptor) = (passed, passed.descriptor)
      (self.endpoint, file) = (endpoint, nil)
      return
    }
    passed = nil
    let what = "cannot listen on \(endpoint)"
    // Whoever else begins to listen here looks at the same file.
    let turn =
      if case .unix(let path) = endpoint { SocketFile.Turn(path) } else { nil as SocketFile.Turn? }
    defer { turn?.end() }
    if case .unix(let path) = endpoint, let obstacle = SocketFile.clear(path) {
      throw TransportError(.unreachable, "\(what): \(obstacle)")
    }
    var failure = SystemError("bind", errno: EADDRNOTAVAIL)
    var isRefused = false
    let descriptor = try endpoint.withAddresses(passive: true) {
      family, address, length -> Int32? in
      let descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
      guard descriptor >= 0 else {
        failure = SystemError("socket")
        return nil
      }
      var on: Int32 = 1
      setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
      // bind(2) makes the file with the socket's own mode: there is no moment in which others can
      // connect.
      if (family != AF_UNIX || fchmod(descriptor, 0o600) == 0),
        bind(descriptor, address, length) == 0
      {
        isRefused = tls == nil && !insecure && Reach.isOpen(descriptor)
        if isRefused || listen(descriptor, Int32(Self.backlog)) == 0 {
          // poll(2) may speak of a connection that is gone when it is accepted.
          _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
          return descriptor
        }
      }
      failure = SystemError("bind")
      close(descriptor)
      return nil
    }
    guard let descriptor else {
      throw TransportError(.unreachable, "\(what): \(failure.reason)")
    }
    guard !isRefused else {
      close(descriptor)
      throw Reach.refusal(endpoint)
    }
    self.descriptor = descriptor
    self.endpoint = Self.resolved(endpoint, descriptor)
    if case .unix(let path) = endpoint { file = SocketFile(path) } else { file = nil }
  }

  deinit {
    // Removed before it is closed: no moment in which a live file is a dead one to somebody else.
    file?.remove()
    if passed == nil { close(descriptor) }
  }

  /// What has come of accepting.
  enum Accepted {
    case socket(Socket)
    /// It was closed: its host has made more of them than are looked at.
    case crowd(Origin)
  }

  /// Accepts one connection that is there already; nil if none is any more.
  ///
  /// - Throws: when there is one and it cannot be accepted now: no descriptor, no memory.
  func accept() throws(SystemError) -> Accepted? {
    var address = sockaddr_storage()
    let accepted =
      passed?.accept(&address)
      ?? clinux_accept_from(descriptor, &address, MemoryLayout<sockaddr_storage>.size)
    guard accepted >= 0 else {
      let error = SystemError("accept")
      if [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(error.errno) { throw error }
      return nil
    }
    let origin = Origin(address)
    // Before anything is made for it: to accept and to close is all that it costs.
    guard allowance.withLock({ $0.take(origin) }) else {
      close(accepted)
      return .crowd(origin)
    }
    var session: TLSSession?
    if let tls {
      do throws(TLSError) { session = try TLSSession(accepted, tls) } catch {
        // No memory.
        close(accepted)
        throw SystemError("accept", errno: ENOMEM)
      }
    }
    return .socket(
      Socket(
        descriptor: accepted, peer: peer, timeout: timeout, tls: session, origin: origin))
  }

  /// Nothing is accepted any more; who waits for a connection is woken. From any thread.
  public func end() {
    if let passed { passed.end() } else { shutdown(descriptor, Int32(SHUT_RDWR)) }
  }

  /// It has ended, where ``descriptor`` does not say so by hanging up.
  var hasEnded: Bool { passed?.hasEnded ?? false }

  /// The only connection that there was has been accepted.
  var isExhausted: Bool { passed?.isExhausted ?? false }

  private static func resolved(_ endpoint: Endpoint, _ descriptor: Int32) -> Endpoint {
    guard case .tcp(let host, 0) = endpoint else { return endpoint }
    let port = withOwnAddress(descriptor) { address in
      // The port is at the same place in IPv4 and IPv6.
      UInt16(bigEndian: UnsafeRawPointer(address).loadUnaligned(as: sockaddr_in.self).sin_port)
    }
    return .tcp(host: host, port: port ?? 0)
  }
}
