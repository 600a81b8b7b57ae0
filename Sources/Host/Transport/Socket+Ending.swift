import CLinux
import Glibc
import System
import TLS

/// How a connection ends, and how that shows.
extension Socket {
  /// What is to be seen of the peer's end of the connection without reading.
  public enum End: Sendable {
    /// The peer, or this side, has ended it.
    case ended
    /// There is so much to read that the end may be behind it, on its way.
    case unread
    /// It is open.
    case quiet
  }

  /// Looks. From any thread.
  public var end: End {
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN) | Self.hangUp, revents: 0)
    guard poll(&entry, 1, 0) > 0 else { return .quiet }
    if entry.revents & (Self.hangUp | Int16(POLLHUP | POLLERR | POLLNVAL)) != 0 { return .ended }
    return hasRoom ? .quiet : .unread
  }

  /// Whether the end would have come, if there were one: it stands behind all data, but for a UNIX
  /// socket's, and data come for as long as there is room for them. A window is half the buffer.
  private var hasRoom: Bool {
    if withOwnAddress(descriptor, { Int32($0.pointee.sa_family) }) == AF_UNIX { return true }
    var size: Int32 = 0
    var count = socklen_t(MemoryLayout<Int32>.size)
    let isKnown = getsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, &count) == 0
    let unread = clinux_unread(descriptor)
    return isKnown && unread >= 0 && unread < size / 8
  }

  /// POLLRDHUP, which the overlay hides: the peer has closed its side.
  static let hangUp: Int16 = 0x2000

  /// Makes every read and write on the socket return at once, also those that are blocked.
  public func cut() { shutdown(descriptor, Int32(SHUT_RDWR)) }

  /// Makes reads return, while what is to be said can still be written.
  public func cutReading() { shutdown(descriptor, Int32(SHUT_RD)) }

  /// Nothing more will be written; the peer sees the end of the stream.
  public func finishWriting() {
    tls?.sayGoodbye()
    shutdown(descriptor, Int32(SHUT_WR))
  }

  /// Nothing more will be written: the end of the stream is passed on as it has come on another
  /// connection. What that one's peer has not said is not said here.
  public func finishWriting(as other: Socket) {
    if !other.abruptEnd.hasCome { tls?.sayGoodbye() }
    shutdown(descriptor, Int32(SHUT_WR))
  }

  /// Waits until all that was written has arrived: at the peer's machine, which then has it or is
  /// dead; of a UNIX socket, at the peer itself.
  ///
  /// - Parameters:
  ///   - seconds: how long that may take.
  ///   - isOver: asked now and then: nobody waits for it any more.
  /// - Throws: when the connection fails before, or the time is up: whether it arrives is not known.
  public func awaitTaken(
    seconds: Double, unless isOver: () -> Bool = { false }
  ) throws(TransportError) {
    let deadline = ContinuousClock.now + .seconds(seconds.timeLimit)
    let isLocal = withOwnAddress(descriptor, { Int32($0.pointee.sa_family) }) == AF_UNIX
    while true {
      let isTaken = clinux_untaken(descriptor) == 0
      var entry = pollfd(fd: descriptor, events: Int16(POLLIN) | Self.hangUp, revents: 0)
      poll(&entry, 1, 0)
      let hasFailed = entry.revents & Int16(POLLERR) != 0
      // A UNIX socket that is closed throws away what its owner has not read, and is failed before.
      if isTaken, !(isLocal && hasFailed) { return }
      guard !hasFailed else {
        var number: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &number, &size)
        throw failure(SystemError("send", errno: number == 0 ? EPIPE : number))
      }
      guard !isOver(), .now < deadline else {
        throw TransportError(.timedOut, "\(peer) is silent")
      }
      // No event tells of it. Whoever has taken it mostly says or closes something at once.
      if entry.revents == 0 { poll(&entry, 1, 1) } else { usleep(1000) }
    }
  }

  /// Reads and throws away until the peer closes, at most for `seconds`, so that closing does not
  /// reset the connection under a message that is still on its way.
  public func drain(seconds: Double) {
    let deadline = ContinuousClock.now + .seconds(seconds.timeLimit)
    withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 16) { buffer in
      while waitReadable(seconds: (deadline - .now) / .seconds(1)) {
        do throws(TransportError) { if try readNow(into: buffer) == 0 { return } } catch { return }
      }
    }
  }
}
