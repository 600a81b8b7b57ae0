import Glibc
import Synchronization
import System
import TLS

/// A connection with TLS: its calls, by records instead of by the kernel's.
extension Socket {
  /// What it is encrypted by, `TLS1.3, AES-128-GCM`; nil: by nothing.
  public var encryption: String? { tls?.description }

  /// What becomes of a connection that was made or passed to us.
  static func connected(
    _ descriptor: Int32, _ peer: String, _ timeout: Double, _ tls: TLSCredentials?, _ name: String?
  ) throws(TransportError) -> Socket {
    guard let tls else { return Socket(descriptor: descriptor, peer: peer, timeout: timeout) }
    let session: TLSSession
    do throws(TLSError) { session = try TLSSession(descriptor, tls, name: name) } catch {
      close(descriptor)
      throw TransportError(.local, "\(peer): \(error)")
    }
    let socket = Socket(descriptor: descriptor, peer: peer, timeout: timeout, tls: session)
    do throws(TLSError) { try session.shake(within: timeout) } catch { throw socket.failure(error) }
    return socket
  }

  /// The same connection by TLS, from the place where both sides have come to. What has been taken
  /// from it already was said in clear: its owner sees to it that there is nothing left.
  ///
  /// - Parameter seconds: in which the handshake must be done; then, of silence as in `connect`.
  /// - Returns: what is to be read from and written to from here on. This one can only be cut.
  public func encrypted(
    by credentials: TLSCredentials, within seconds: Double
  ) throws(TLSError) -> Socket {
    let session = try TLSSession(descriptor, credentials)
    try session.shake(within: seconds)
    return Socket(
      descriptor: descriptor, peer: peer, timeout: seconds, tls: session, origin: origin, of: self)
  }

  /// Goes on with the handshake without waiting; of a connection that was accepted.
  ///
  /// - Returns: what it waits for; nil when it is done, or there is none.
  func shake() throws(TLSError) -> Int16? { try tls?.shake() }

  // MARK: Reading

  func read(
    _ tls: TLSSession, into buffer: UnsafeMutableRawBufferPointer, idle: Bool
  ) throws(TransportError) -> Int {
    while true {
      do throws(TLSError) { return try tls.receive(buffer) } catch {
        if idle, error.kind == .silent { continue }
        return try end(error)
      }
    }
  }

  /// What a read that has failed gives: nothing more, where that is a way to end here; else it throws.
  func end(_ error: TLSError) throws(TransportError) -> Int {
    guard error.kind == .ended, abruptEnd.isAccepted else { throw failure(error) }
    abruptEnd.come()
    return 0
  }

  /// Records are opened into the pieces themselves, one after the other.
  func fill(
    _ tls: TLSSession, pieces: UnsafeMutableBufferPointer<iovec>
  ) throws(TransportError) {
    for piece in pieces where piece.iov_len > 0 {
      let buffer = UnsafeMutableRawBufferPointer(start: piece.iov_base, count: piece.iov_len)
      guard try fill(buffer, idle: false) else {
        throw TransportError(.closed, "\(peer) closed the connection inside a packet")
      }
    }
  }

  /// As recv(2) answers, with errno: whoever looks before anybody has introduced himself does not
  /// care how a connection has ended.
  static func answer(_ body: () throws(TLSError) -> Int?) -> Int {
    do throws(TLSError) {
      if let count = try body() { return count }
      errno = EAGAIN
      return -1
    } catch { return 0 }
  }

  // MARK: Writing

  func write(_ tls: TLSSession, _ bytes: UnsafeRawBufferPointer) throws(TransportError) {
    do throws(TLSError) { try tls.send(bytes) } catch { throw failure(error) }
  }

  /// Full records, as many as there can be: a header goes with the first of its pages. What is long
  /// enough for a record of its own is not copied.
  func write(
    _ tls: TLSSession, pieces: UnsafeMutableBufferPointer<iovec>
  ) throws(TransportError) {
    let record = UnsafeMutableRawBufferPointer.allocate(
      byteCount: TLSSession.recordSize, alignment: 64)
    defer { record.deallocate() }
    var held = 0
    for piece in pieces {
      // Its memory is the caller's for the length of the call.
      var rest = UnsafeRawBufferPointer(start: piece.iov_base, count: piece.iov_len)
      while !rest.isEmpty {
        if held == 0, rest.count >= record.count {
          let whole = rest.count - rest.count % record.count
          try write(tls, UnsafeRawBufferPointer(rebasing: rest[..<whole]))
          rest = UnsafeRawBufferPointer(rebasing: rest[whole...])
          continue
        }
        let count = min(rest.count, record.count - held)
        UnsafeMutableRawBufferPointer(rebasing: record[held...]).copyMemory(
          from: UnsafeRawBufferPointer(rebasing: rest[..<count]))
        rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        held += count
        guard held == record.count else { continue }
        try write(tls, UnsafeRawBufferPointer(record))
        held = 0
      }
    }
    try write(tls, UnsafeRawBufferPointer(rebasing: record[..<held]))
  }

  // MARK: Ending

  /// From here on the connection may end though the peer has not said so by TLS. Only for what is
  /// whole anyway, or is not, by what was said before. A 7.2 ends all of its connections so (seen).
  public func acceptAbruptEnd() { abruptEnd.accept() }

  /// What an error of TLS on it means.
  func failure(_ error: TLSError) -> TransportError {
    switch error.kind {
    case .credentials, .refused: return TransportError(.untrusted, "\(peer): \(error.message)")
    case .ended: return TransportError(.closed, "\(peer): \(error.message)")
    case .silent: return TransportError(.timedOut, "\(peer): \(error.message)")
    case .system(let number): return failure(SystemError("tls", errno: number))
    }
  }
}

/// Whether a connection with TLS may end without a word of it, and whether it has.
struct AbruptEnd: ~Copyable, Sendable {
  private let accepted = Atomic(false)
  private let came = Atomic(false)

  var isAccepted: Bool { accepted.load(ordering: .relaxed) }
  var hasCome: Bool { came.load(ordering: .relaxed) }
  func accept() { accepted.store(true, ordering: .relaxed) }
  func come() { came.store(true, ordering: .relaxed) }
}

extension TLSCredentials {
  /// The name that the certificate of whoever listens there must have; nil where it needs none.
  ///
  /// - Throws: where it needs one and nobody has said it.
  public func name(at endpoint: Endpoint) throws(TransportError) -> String? {
    guard asksForName else { return nil }
    if let hostname { return hostname }
    if case .tcp(let host, _) = endpoint, !host.isEmpty { return host }
    throw TransportError(
      .badURI,
      "\(endpoint) names no host, and a certificate is a host's: say which by --tls-hostname"
    )
  }
}
