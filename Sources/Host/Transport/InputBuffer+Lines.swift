import Glibc

/// Protocols that speak in lines: QMP, HTTP, the one between a standby and `protect`.
extension InputBuffer {
  /// What has come of reading a line.
  public enum Line {
    /// Its bytes, without the end, and with a carriage return that comes before it.
    case line([UInt8])
    /// More than so many bytes have come without an end of a line.
    case tooLong
    /// The stream has ended; inside of a line, or behind one.
    case end(inside: Bool)
  }

  /// Reads the next line.
  ///
  /// - Parameters:
  ///   - longest: the most bytes that it may have.
  ///   - idle: the peer may be silent for as long as it likes before the line begins.
  public mutating func line(
    atMost longest: Int, idle: Bool = false
  ) throws(TransportError) -> Line {
    var seen = 0
    while true {
      let bytes = bytes
      if let end = bytes[seen...].firstIndex(of: UInt8(ascii: "\n")) {
        let line = Array(bytes[..<end])
        consume(end + 1)
        return .line(line)
      }
      seen = bytes.count
      guard seen < longest else { return .tooLong }
      guard try require(seen + 1, idle: idle) else { return .end(inside: seen > 0) }
    }
  }
}
