import TLS

extension TLSSession {
  /// Sends bytes.
  public func send(_ bytes: [UInt8]) throws {
    // Lent for the call, which copies them.
    let result = bytes.withUnsafeBytes { bytes in
      Result { () throws(TLSError) in try send(bytes) }
    }
    try result.get()
  }

  /// Reads so many bytes, or as many as come before the end.
  public func bytes(_ count: Int) throws -> [UInt8] {
    var (all, done) = ([UInt8](repeating: 0, count: count), 0)
    while done < count {
      let got = try take(into: &all, from: done) { buffer throws(TLSError) in try receive(buffer) }
      if got == 0 { break }
      done += got
    }
    return Array(all.prefix(done))
  }
}

/// Fills an array, from a place on, by what takes a buffer.
public func take<Count>(
  into bytes: inout [UInt8], from start: Int = 0,
  _ body: (UnsafeMutableRawBufferPointer) throws(TLSError) -> Count
) throws -> Count {
  // Lent for the call, from `start` on, which is no more than the count.
  let result = bytes.withUnsafeMutableBytes { buffer in
    Result { () throws(TLSError) in
      try body(UnsafeMutableRawBufferPointer(rebasing: buffer[start...]))
    }
  }
  return try result.get()
}
