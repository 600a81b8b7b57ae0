import CLinux
import Glibc
import Synchronization
import System
import TLS

/// One connected stream socket, blocking, with a time limit on silence in the middle of something.
///
/// Reading belongs to one thread and writing to one thread; ``cut()`` may come from any thread and
/// makes both return.
///
/// What is read and written is the peer's and ours: where the connection has TLS, that lies below
/// (`Socket+TLS.swift`), and nobody above knows.
public final class Socket: Sendable {
  let descriptor: Int32
  /// For messages: who is at the other end.
  public let peer: String
  /// What it is encrypted by; nil: it is not.
  let tls: TLSSession?
  /// The same connection without TLS, whose descriptor this is.
  private let plain: Socket?
  let abruptEnd = AbruptEnd()
  /// Where it comes from, if it was accepted.
  public let origin: Origin?

  /// Takes over a connected descriptor.
  ///
  /// - Parameters:
  ///   - timeout: seconds of silence after which a read or write that has begun fails.
  ///   - tls: a session on the descriptor.
  ///   - plain: whose the descriptor stays; nil: it is closed with this.
  init(
    descriptor: Int32, peer: String, timeout: Double, tls: TLSSession? = nil,
    origin: Origin? = nil, of plain: Socket? = nil
  ) {
    self.descriptor = descriptor
    self.origin = origin
    self.peer = peer
    self.tls = tls
    self.plain = plain
    let timeout = timeout.timeLimit
    setOption(SOL_SOCKET, SO_KEEPALIVE, 1)
    // A peer whose machine died says nothing: keep-alive probes tell it from one that is idle.
    let idle = Int32(max(1, min(timeout, 600) / 3))
    setOption(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    setOption(Int32(IPPROTO_TCP), TCP_KEEPIDLE, idle)
    setOption(Int32(IPPROTO_TCP), TCP_KEEPINTVL, idle)
    setOption(Int32(IPPROTO_TCP), TCP_KEEPCNT, 3)
    // Probes are not sent while something of ours is unacknowledged: the same limit for that.
    setOption(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, Int32(min(max(timeout, 1) * 1000, 1e9)))
    setTimeout(timeout)
  }

  deinit { if plain == nil { close(descriptor) } }

  /// Connects, or takes the next connection that was passed to this process.
  ///
  /// - Parameters:
  ///   - timeout: seconds in which it must be connected, and then again in which a handshake must
  ///     be done; from then on, seconds of silence as above.
  ///   - tls: what is shown and asked for in a handshake; nil: there is none.
  public static func connect(
    to endpoint: Endpoint, timeout: Double, tls: TLSCredentials? = nil
  ) throws(TransportError) -> Socket {
    let name = try tls?.name(at: endpoint)
    if case .fd(let sockets) = endpoint {
      let descriptor = try sockets.takeConnected()
      return try Socket.connected(descriptor, "fd:\(descriptor)", timeout, tls, name)
    }
    var failure = SystemError("connect", errno: ECONNREFUSED)
    let descriptor = try endpoint.withAddresses(passive: false) {
      family, address, length -> Int32? in
      let descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
      guard descriptor >= 0 else {
        failure = SystemError("socket")
        return nil
      }
      if LoopbackFlow.isLoopback(address) { LoopbackFlow.leavePacing(descriptor) }
      // SO_SNDTIMEO bounds connect(2) too.
      var limit = timeval(seconds: timeout)
      setsockopt(
        descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
      if Glibc.connect(descriptor, address, length) == 0 { return descriptor }
      failure = SystemError("connect")
      close(descriptor)
      return nil
    }
    guard let descriptor else {
      // What connect(2) says when SO_SNDTIMEO ends it, of TCP and of UNIX sockets.
      let isLate = failure.errno == EINPROGRESS || failure.errno == EAGAIN
      let why = isLate ? "no answer within \(timeout) s" : failure.reason
      throw TransportError(.unreachable, "cannot connect to \(endpoint): \(why)")
    }
    return try Socket.connected(descriptor, endpoint.description, timeout, tls, name)
  }

  // MARK: Reading

  /// Reads at least one byte and at most what fits.
  ///
  /// - Parameter idle: the peer may be silent for as long as it likes (between elements).
  /// - Returns: how many; 0 at the end of the stream.
  public func read(
    into buffer: UnsafeMutableRawBufferPointer, idle: Bool
  ) throws(TransportError) -> Int {
    if let tls { return try read(tls, into: buffer, idle: idle) }
    while true {
      let count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
      if count >= 0 { return count }
      if errno == EINTR || (idle && errno == EAGAIN) { continue }
      throw failure("recv")
    }
  }

  /// Fills the buffer, or throws.
  ///
  /// - Parameter idle: the first byte may be as late as it likes.
  /// - Returns: false if the stream ended before the first byte.
  public func fill(
    _ buffer: UnsafeMutableRawBufferPointer, idle: Bool
  ) throws(TransportError) -> Bool {
    var done = 0
    while done < buffer.count {
      let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
      let count = try read(into: rest, idle: idle && done == 0)
      if count == 0 {
        if done == 0 { return false }
        throw TransportError(
          .closed, "\(peer) closed the connection after \(done) of \(buffer.count) bytes")
      }
      done += count
    }
    return true
  }

  /// Fills every piece, in order, with as few system calls as possible. The pieces are used up.
  public func fill(pieces: UnsafeMutableBufferPointer<iovec>) throws(TransportError) {
    if let tls { return try fill(tls, pieces: pieces) }
    var rest = pieces[...]
    while let first = rest.first {
      // To read no bytes would look like the end of the stream.
      guard first.iov_len > 0 else {
        rest = rest.dropFirst()
        continue
      }
      let batch = UnsafeMutableBufferPointer(rebasing: rest.prefix(Self.maxPieces))
      let count = Glibc.readv(descriptor, batch.baseAddress, Int32(batch.count))
      if count == 0 {
        throw TransportError(.closed, "\(peer) closed the connection inside a packet")
      }
      if count < 0 {
        if errno == EINTR { continue }
        throw failure("readv")
      }
      rest = rest.dropFirst(Self.advance(batch, by: count))
    }
  }

  /// Looks at the first bytes without taking them, as many as are there.
  func peek(into buffer: UnsafeMutableRawBufferPointer) -> Int {
    if let tls { return Self.answer { () throws(TLSError) in try tls.peek(buffer) } }
    return recv(
      descriptor, buffer.baseAddress, buffer.count,
      Int32(MSG_PEEK) | Int32(MSG_DONTWAIT))
  }

  /// Takes what is here, without waiting for more: as recv(2), with errno.
  func take(into buffer: UnsafeMutableRawBufferPointer) -> Int {
    if let tls { return Self.answer { () throws(TLSError) in try tls.receiveNow(buffer) } }
    return recv(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
  }

  /// Acknowledges what has arrived now. The kernel forgets the wish, so it is repeated after reads.
  public func acknowledge() { setOption(Int32(IPPROTO_TCP), TCP_QUICKACK, 1) }

  /// From here on reads wait for as long as it takes, until ``cut()``: somebody else watches the
  /// clock.
  public func waitForEver() {
    var limit = timeval()
    setsockopt(
      descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }

  // MARK: Writing

  /// From here on a write that waits for longer than so many seconds fails.
  public func limitWriting(seconds: Double) {
    var limit = timeval(seconds: seconds.timeLimit)
    setsockopt(
      descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }

  /// Writes all of it.
  public func write(_ bytes: UnsafeRawBufferPointer) throws(TransportError) {
    if let tls { return try write(tls, bytes) }
    var done = 0
    while done < bytes.count {
      let count = send(
        descriptor, bytes.baseAddress! + done, bytes.count - done, Int32(MSG_NOSIGNAL))
      if count < 0 {
        if errno == EINTR { continue }
        throw failure("send")
      }
      done += count
    }
  }

  /// Writes all of it.
  public func write(_ bytes: [UInt8]) throws(TransportError) {
    var result: Result<Void, TransportError> = .success(())
    bytes.withUnsafeBytes { buffer in
      result = Result { () throws(TransportError) in try write(buffer) }
    }
    try result.get()
  }

  /// Writes every piece, in order. The pieces are used up.
  ///
  /// - Parameter more: something follows at once, and the last of it may go with that.
  public func write(
    pieces: UnsafeMutableBufferPointer<iovec>, more: Bool = false
  ) throws(TransportError) {
    if let tls { return try write(tls, pieces: pieces) }
    let flags = Int32(MSG_NOSIGNAL) | (more ? Int32(MSG_MORE) : 0)
    var rest = pieces[...]
    while !rest.isEmpty {
      let batch = UnsafeMutableBufferPointer(rebasing: rest.prefix(Self.maxPieces))
      var message = msghdr()
      message.msg_iov = batch.baseAddress
      message.msg_iovlen = batch.count
      // sendmsg rather than writev: no SIGPIPE.
      let count = sendmsg(descriptor, &message, flags)
      if count < 0 {
        if errno == EINTR { continue }
        throw failure("sendmsg")
      }
      rest = rest.dropFirst(Self.advance(batch, by: count))
    }
  }

  /// Bytes that the peer has room for, as it has said last; nil where that is not known.
  public var peerWindow: Int? {
    let window = clinux_peer_window(descriptor)
    return window < 0 ? nil : Int(window)
  }

  /// Seconds to the peer and back, as the kernel has seen it; nil where it has not, or this is no
  /// network's.
  public var roundTrip: Double? {
    let microseconds = clinux_round_trip(descriptor)
    return microseconds < 0 ? nil : Double(microseconds) / 1e6
  }

  /// The user whose process is at the other end of a UNIX socket; nil of others.
  public var peerUser: UInt32? { UInt32(exactly: clinux_peer_user(descriptor)) }

  // MARK: Inside

  /// IOV_MAX of Linux.
  private static let maxPieces = 1024

  /// Drops what has been done from the front of the pieces.
  ///
  /// - Returns: how many pieces are done.
  private static func advance(_ pieces: UnsafeMutableBufferPointer<iovec>, by count: Int) -> Int {
    var left = count
    var index = 0
    while index < pieces.count, left >= pieces[index].iov_len {
      left -= pieces[index].iov_len
      index += 1
    }
    if left > 0 {
      pieces[index].iov_base += left
      pieces[index].iov_len -= left
    }
    return index
  }

  /// What the error that a system call on it has left behind means.
  func failure(_ call: String) -> TransportError { failure(SystemError(call)) }

  /// What a failed system call on it means.
  func failure(_ error: SystemError) -> TransportError {
    switch error.errno {
    case EAGAIN: return TransportError(.timedOut, "\(peer) is silent")
    case EPIPE: return TransportError(.closed, "\(peer) closed the connection (\(error.reason))")
    case ECONNRESET:
      return TransportError(.reset, "\(peer) closed the connection (\(error.reason))")
    case ETIMEDOUT, EHOSTUNREACH, ENETUNREACH:
      return TransportError(.lost, "\(peer) is gone (\(error.reason))")
    // Memory, descriptors, a bad address: whatever else there is says nothing about the peer.
    default: return TransportError(.local, "the connection to \(peer): \(error)")
    }
  }

  private func setOption(_ level: Int32, _ name: Int32, _ value: Int32) {
    var value = value  // not every option fits every family: a UNIX socket has no Nagle to turn off
    setsockopt(descriptor, level, name, &value, socklen_t(MemoryLayout<Int32>.size))
  }

  func setTimeout(_ seconds: Double) {
    var limit = timeval(seconds: seconds)
    let size = socklen_t(MemoryLayout<timeval>.size)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
  }
}

extension timeval {
  /// At least a millisecond: zero would mean for ever.
  init(seconds: Double) {
    let micros = Int(max(seconds.timeLimit, 0.001) * 1_000_000)
    self.init(tv_sec: micros / 1_000_000, tv_usec: micros % 1_000_000)
  }
}
