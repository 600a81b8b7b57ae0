import Glibc

/// Accepts connections and tells by their first bytes what they are.
///
/// A source connects its main channel first and flushes it last, and opens its multifd channels in any
/// order, so nothing can be said from the order: each connection waits here until it has sent four
/// bytes. A connection that is neither, or that closes before, never reaches the migration.
public final class Lobby: Sendable {
  /// What a connection has turned out to be.
  public enum Arrival: Sendable {
    /// It begins with QEMU's migration magic.
    case main(Socket)
    /// It begins with multifd's magic.
    case channel(Socket)
    /// It begins with something else: the first bytes.
    case stranger(Socket, firstBytes: [UInt8])
  }

  private let listener: Listener
  /// POLLRDHUP, which the overlay hides: the peer has closed its side.
  private static let hangUp: Int16 = 0x2000
  private static let maxWaiting = 300
  private static let mainMagic: [UInt8] = [0x51, 0x45, 0x56, 0x4d]
  private static let channelMagic: [UInt8] = [0x11, 0x22, 0x33, 0x44]

  /// A lobby in front of a listener.
  public init(_ listener: Listener) { self.listener = listener }

  /// Accepts and identifies until ``close()``. Runs in a thread of its own.
  ///
  /// - Parameters:
  ///   - onConnect: called for every connection, before it is identified.
  ///   - onLeave: called once for each of them, when it is not anonymous any more: after `onArrival`, or
  ///     when it has gone without a word.
  ///   - onArrival: called for every connection that has said what it is.
  public func run(
    onConnect: () -> Void, onLeave: () -> Void = {}, onArrival: (Arrival) -> Void
  ) {
    var waiting: [Socket] = []
    while true {
      var polled = [pollfd(fd: listener.descriptor, events: Int16(POLLIN), revents: 0)]
      polled += waiting.map {
        pollfd(fd: $0.descriptor, events: Int16(POLLIN) | Self.hangUp, revents: 0)
      }
      guard poll(&polled, nfds_t(polled.count), -1) >= 0 || errno == EINTR else { return }
      if polled[0].revents & Int16(POLLHUP | POLLERR | POLLNVAL) != 0 { return }

      var undecided: [Socket] = []
      for (socket, entry) in zip(waiting, polled.dropFirst()) {
        if entry.revents == 0 {
          undecided.append(socket)
        } else if identify(socket, onArrival) || entry.revents & Self.hangUp != 0 {
          onLeave()
        } else {
          undecided.append(socket)
          usleep(10_000)  // a UNIX socket has no low-water mark: not a busy loop for three bytes
        }
      }
      waiting = undecided
      if polled[0].revents & Int16(POLLIN) != 0, let socket = listener.accept() {
        // poll(2) now speaks only when the whole magic is there.
        socket.setLowWaterMark(Self.mainMagic.count)
        waiting.append(socket)
        // Silent connections must not use up the descriptors that a source needs.
        if waiting.count > Self.maxWaiting {
          waiting.removeFirst()
          onLeave()
        }
        onConnect()
      }
    }
  }

  /// Ends ``run(onConnect:onArrival:)``; connections that are still anonymous are closed.
  public func close() { shutdown(listener.descriptor, Int32(SHUT_RDWR)) }

  /// - Returns: whether the connection can leave the lobby.
  private func identify(_ socket: Socket, _ onArrival: (Arrival) -> Void) -> Bool {
    var first = [UInt8](repeating: 0, count: 4)
    let count = first.withUnsafeMutableBytes { socket.peek(into: $0) }
    if count < 0 { return errno != EAGAIN && errno != EINTR }
    if count == 0 { return true }  // closed without a word: a port scan, a health check
    first.removeLast(4 - count)
    if first == Self.mainMagic {
      socket.setLowWaterMark(1)
      onArrival(.main(socket))
    } else if first == Self.channelMagic {
      socket.setLowWaterMark(1)
      onArrival(.channel(socket))
    } else if count == 4
      || !(Self.mainMagic.starts(with: first) || Self.channelMagic.starts(with: first))
    {
      onArrival(.stranger(socket, firstBytes: first))
    } else {
      return false
    }
    return true
  }
}

extension Socket {
  /// How many bytes must have arrived before poll(2) says so.
  func setLowWaterMark(_ count: Int) {
    var value = Int32(count)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVLOWAT, &value, socklen_t(MemoryLayout<Int32>.size))
  }
}
