import Glibc

extension Socket {
  /// Fills a buffer, or throws, and takes as much of what follows as the same system call brings.
  ///
  /// - Returns: how many bytes of `more` have come.
  public func fill(
    _ buffer: UnsafeMutableRawBufferPointer, more: UnsafeMutableRawBufferPointer
  ) throws(TransportError) -> Int {
    if tls != nil {
      // A record is opened where it is wanted, and no call brings more than that.
      guard try fill(buffer, idle: false) else {
        throw TransportError(.closed, "\(peer) closed the connection before \(buffer.count) bytes")
      }
      return 0
    }
    var done = 0
    while done < buffer.count {
      let count = withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { pieces in
        // Memory of the caller's, both of them.
        pieces.baseAddress!.initialize(
          to: iovec(iov_base: buffer.baseAddress! + done, iov_len: buffer.count - done))
        (pieces.baseAddress! + 1).initialize(
          to: iovec(iov_base: more.baseAddress, iov_len: more.count))
        return Glibc.readv(descriptor, pieces.baseAddress, 2)
      }
      if count == 0 {
        throw TransportError(
          .closed, "\(peer) closed the connection after \(done) of \(buffer.count) bytes")
      }
      if count < 0 {
        if errno == EINTR { continue }
        throw failure("readv")
      }
      done += count
    }
    return done - buffer.count
  }
}
