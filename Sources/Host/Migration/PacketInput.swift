import Glibc
import PluginAPI
import PluginLoader
import Transport

/// Where a channel's bytes come from.
public enum PacketInput {
  /// A connection to the peer that `name` stands for in messages: `the source`.
  case socket(Socket, name: String)
  /// A recording. Its memory must stay until the reader is gone.
  case recording(UnsafeRawBufferPointer)
}

extension PacketReader: PayloadSource {
  /// Takes as many bytes as the buffer has.
  ///
  /// - Parameter idle: the first may be as late as it likes.
  /// - Returns: how many; fewer only where the channel ends.
  func fill(_ buffer: UnsafeMutableRawBufferPointer, idle: Bool) throws(TransportError) -> Int {
    switch input {
    case .socket(let socket, _):
      return try socket.fill(buffer, idle: idle) ? buffer.count : 0
    case .recording(let bytes):
      let count = min(buffer.count, bytes.count - taken)
      // Both ranges have `count` bytes.
      buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[taken..<taken + count]))
      taken += count
      return count
    }
  }

  /// The channel ends where it may not.
  func ended(inside what: String) -> TransportError {
    let name = if case .socket(_, let name) = input { name } else { "the recording" }
    return TransportError(.closed, "\(name) closed it \(what)")
  }

  /// For the backend: bytes of the packet's payload.
  public func read(into buffer: UnsafeMutableRawBufferPointer) throws {
    guard try fill(buffer, idle: false) == buffer.count else {
      throw ended(inside: "inside a packet")
    }
  }

  /// For the backend: bytes of the packet's payload, in pieces.
  public func readv(_ pieces: UnsafeBufferPointer<MultiFDIOVec>) throws {
    guard case .socket(let socket, _) = input else {
      for piece in pieces {
        try read(into: UnsafeMutableRawBufferPointer(start: piece.iov_base, count: piece.iov_len))
      }
      return
    }
    try withUnsafeTemporaryAllocation(of: iovec.self, capacity: pieces.count) { copies in
      // The socket uses its pieces up, and the backend's array is not ours to change.
      for (index, piece) in pieces.enumerated() {
        (copies.baseAddress! + index).initialize(
          to: iovec(iov_base: piece.iov_base, iov_len: piece.iov_len))
      }
      try socket.fill(pieces: UnsafeMutableBufferPointer(rebasing: copies[..<pieces.count]))
    }
  }
}
