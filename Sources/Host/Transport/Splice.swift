import CLinux
import Glibc
import System

/// Moves bytes from one connection to another without looking at them: splice(2) through a pipe, so
/// the kernel hands its pages on and nothing is copied here. Where one of them has TLS, its bytes
/// are only here what they mean, and are read and written. It belongs to one thread.
public final class Splice {
  /// Room that is asked for: a packet of pages, and its header.
  private static let room: Int32 = 1 << 20
  private let ends: (read: Int32, write: Int32)
  private let room: Int
  /// For what is read and written; made when it is needed.
  private var bytes: UnsafeMutableRawBufferPointer?

  /// Opens the pipe.
  public init() throws(SystemError) {
    var pair: [Int32] = [-1, -1]
    let room = clinux_wide_pipe(&pair, Self.room)
    guard room > 0 else { throw SystemError("pipe") }
    self.room = Int(room)
    ends = (pair[0], pair[1])
    // splice(2) knows no MSG_NOSIGNAL.
    var set = sigset_t()
    sigemptyset(&set)
    sigaddset(&set, SIGPIPE)
    pthread_sigmask(SIG_BLOCK, &set, nil)
  }

  deinit {
    close(ends.read)
    close(ends.write)
    bytes?.deallocate()
  }

  /// Moves `count` bytes.
  ///
  /// - Throws: when either side fails, or the first ends before.
  public func move(_ count: Int, from source: Socket, to target: Socket) throws(TransportError) {
    var left = count
    while left > 0 {
      let moved = try some(atMost: left, from: source, to: target, idle: false, more: true)
      guard moved > 0 else {
        throw TransportError(.closed, "\(source.peer) closed the connection inside a packet")
      }
      left -= moved
    }
  }

  /// Moves what comes next, at most `count` bytes.
  ///
  /// - Parameters:
  ///   - idle: it may be as late as it likes.
  ///   - more: of what was asked for something is still to come.
  /// - Returns: how many; 0 at the end of the stream.
  public func some(
    atMost count: Int, from source: Socket, to target: Socket, idle: Bool, more: Bool = false
  ) throws(TransportError) -> Int {
    guard source.tls == nil, target.tls == nil else {
      let buffer = bytes ?? .allocate(byteCount: 1 << 17, alignment: 64)
      bytes = buffer
      let part = UnsafeMutableRawBufferPointer(rebasing: buffer.prefix(count))
      let got = try source.read(into: part, idle: idle)
      try target.write(UnsafeRawBufferPointer(rebasing: part[..<got]))
      return got
    }
    var got: Int64
    repeat {
      got = clinux_splice(source.descriptor, ends.write, min(count, room), 0)
    } while got < 0 && (errno == EINTR || (idle && errno == EAGAIN))
    guard got >= 0 else { throw source.failure("splice") }
    var left = Int(got)
    while left > 0 {
      let gone = clinux_splice(ends.read, target.descriptor, left, more && got < count ? 1 : 0)
      if gone < 0, errno == EINTR { continue }
      guard gone > 0 else { throw target.failure("splice") }
      left -= Int(gone)
    }
    return Int(got)
  }
}
