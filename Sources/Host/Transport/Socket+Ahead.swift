import Glibc

extension Socket {
  /// Fills a buffer, or throws, and takes as much of what follows as the same system call brings.
  ///
  /// - Returns: how many bytes of `more` have come.
  public func fill(
    _ buffer: UnsafeMutableRawBufferPointer, more: UnsafeMutableRawBufferPointer
  ) throws(TransportError) -> Int {
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
