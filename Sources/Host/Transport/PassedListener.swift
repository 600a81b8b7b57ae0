import CLinux
import Glibc
import Synchronization
import System

/// Accepts from a socket that was passed to this process: one that listens, or a connection, which
/// is the first and the last that comes.
///
/// What listens may be others' too (a service manager keeps it for the next process), so it cannot
/// be shut down to wake who waits for it: that is an alarm's, beside it.
final class PassedListener: Sendable {
  /// Readable when there may be somebody to accept, and when it has ended.
  let descriptor: Int32
  private let socket: Int32
  private let listens: Bool
  /// A pipe: the first end is readable while a connection waits to be accepted, or when it ended.
  private let alarm: (Int32, Int32)
  private let isGiven = Atomic(false)
  private let isOver = Atomic(false)

  init(_ sockets: PassedSockets) throws(TransportError) {
    try sockets.checkListening()
    var ends: [Int32] = [-1, -1]
    guard clinux_pipe(&ends) == 0 else { throw Self.failure("pipe", sockets) }
    let (socket, listens): (Int32, Bool)
    do { (socket, listens) = try sockets.takeListening() } catch {
      for end in ends { close(end) }
      throw error
    }
    let watched = listens ? [ends[0], socket] : [ends[0]]
    descriptor = clinux_epoll(watched, Int32(watched.count))
    (self.socket, self.listens, alarm) = (socket, listens, (ends[0], ends[1]))
    guard descriptor >= 0 else { throw Self.failure("epoll", sockets) }
    if !listens { ring() }
  }

  deinit {
    for end in [descriptor, alarm.0, alarm.1] where end >= 0 { close(end) }
    if !isGiven.load(ordering: .relaxed) { close(socket) }
  }

  private static func failure(_ call: String, _ sockets: PassedSockets) -> TransportError {
    TransportError(.unreachable, "cannot listen on \(sockets.uri): \(SystemError(call).reason)")
  }

  /// As accept(2), with errno. For one thread.
  ///
  /// - Parameter peer: gets the address at the other end.
  func accept(_ peer: inout sockaddr_storage) -> Int32 {
    if listens {
      let accepted = clinux_accept_from(socket, &peer, MemoryLayout<sockaddr_storage>.size)
      // Somebody else has shut it down.
      if accepted < 0, errno == EINVAL { isOver.store(true, ordering: .relaxed) }
      return accepted
    }
    guard !isGiven.exchange(true, ordering: .relaxed) else {
      errno = EAGAIN
      return -1
    }
    var byte: UInt8 = 0
    _ = read(alarm.0, &byte, 1)
    return socket
  }

  /// No connection comes any more, and those that have not introduced themselves are not wanted.
  var hasEnded: Bool { isOver.load(ordering: .relaxed) }

  /// No connection comes any more: the only one has been accepted.
  var isExhausted: Bool { isGiven.load(ordering: .relaxed) }

  /// Nothing is accepted any more. From any thread.
  func end() {
    isOver.store(true, ordering: .relaxed)
    ring()
  }

  private func ring() {
    var byte: UInt8 = 0
    _ = write(alarm.1, &byte, 1)
  }
}
