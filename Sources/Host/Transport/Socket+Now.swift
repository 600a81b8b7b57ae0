import CLinux
import Glibc
import TLS

/// What can be done on a connection without waiting for the peer.
extension Socket {
  /// Reads what has come.
  ///
  /// - Returns: how many bytes; 0 at the end of the stream; nil when nothing has come.
  public func readNow(into buffer: UnsafeMutableRawBufferPointer) throws(TransportError) -> Int? {
    if let tls {
      do throws(TLSError) { return try tls.receiveNow(buffer) } catch { return try end(error) }
    }
    while true {
      let count = take(into: buffer)
      if count >= 0 { return count }
      if errno == EAGAIN { return nil }
      if errno != EINTR { throw failure("recv") }
    }
  }

  /// Writes what there is room for; of a connection without TLS.
  ///
  /// - Returns: how many bytes; nil when there is no room.
  public func writeNow(_ bytes: UnsafeRawBufferPointer) throws(TransportError) -> Int? {
    // A record that is half sent is sent: there would be no answer for it.
    precondition(tls == nil, "records are sent whole")
    while true {
      let count = send(
        descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
      if count >= 0 { return count }
      if errno == EAGAIN { return nil }
      if errno != EINTR { throw failure("send") }
    }
  }

  /// Whether the peer has read all that was written to it; of a UNIX socket only.
  public var isTakenByPeer: Bool { clinux_untaken(descriptor) == 0 }

  /// Whether there is nothing to read.
  public var isEmpty: Bool { clinux_unread(descriptor) == 0 }
}
