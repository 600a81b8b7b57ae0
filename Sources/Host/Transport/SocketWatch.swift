import CLinux
import Glibc
import Synchronization
import System

/// One thread's wait for several sockets at once, which any other thread can end.
public final class SocketWatch: Sendable {
  /// What a socket is waited for.
  public struct Wish: Sendable {
    /// The socket.
    public var socket: Socket
    /// Room to write is waited for too; something to read, or the end, always is.
    public var writes: Bool

    /// A wish.
    public init(_ socket: Socket, writes: Bool = false) {
      self.socket = socket
      self.writes = writes
    }
  }

  /// A pipe: its first end is readable when somebody has rung.
  private let bell: (Int32, Int32)
  private let isRung = Atomic(false)

  /// Throws when there are no descriptors for it.
  public init() throws(SystemError) {
    var ends: [Int32] = [-1, -1]
    guard clinux_pipe(&ends) == 0 else { throw SystemError("pipe2") }
    bell = (ends[0], ends[1])
  }

  deinit {
    close(bell.0)
    close(bell.1)
  }

  /// Ends the wait that goes on, or the next one. From any thread, and never waits.
  public func ring() {
    guard !isRung.exchange(true, ordering: .acquiringAndReleasing) else { return }
    var byte: UInt8 = 0
    _ = write(bell.1, &byte, 1)
  }

  /// Waits until one of the wishes comes true, until somebody rings, or until `deadline`; without
  /// one for as long as it takes.
  public func wait(_ wishes: [Wish], until deadline: ContinuousClock.Instant?) {
    var polled = wishes.map { wish in
      pollfd(
        fd: wish.socket.descriptor, events: Int16(POLLIN) | (wish.writes ? Int16(POLLOUT) : 0),
        revents: 0)
    }
    polled.append(pollfd(fd: bell.0, events: Int16(POLLIN), revents: 0))
    let left = deadline.map { max(0, min(($0 - .now) / .milliseconds(1), 1e9)) }
    // Rounded up: a wait that is too short by less than a millisecond would be no wait at all.
    guard poll(&polled, nfds_t(polled.count), left.map { Int32($0.rounded(.up)) } ?? -1) > 0,
      polled[wishes.count].revents != 0
    else { return }
    // The mark first: who rings after that writes a byte of his own, which is for the next wait. So
    // no more than one is read: with his gone, and his mark there, nobody would ring any more.
    isRung.store(false, ordering: .sequentiallyConsistent)
    var byte: UInt8 = 0
    _ = read(bell.0, &byte, 1)
  }
}
