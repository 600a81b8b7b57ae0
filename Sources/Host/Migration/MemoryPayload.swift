import PluginAPI
import PluginLoader

/// A payload that is in memory already, for a backend's receive side.
final class MemoryPayload: PayloadSource {
  private var pieces: [MultiFDIOVec] = []
  private var piece = 0
  private var done = 0

  /// Starts over with a payload. Its memory must stay as it is while it is being read.
  func load(_ pieces: some Sequence<MultiFDIOVec>) {
    self.pieces = Array(pieces)
    (piece, done) = (0, 0)
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws {
    var filled = 0
    while filled < buffer.count, piece < pieces.count {
      let count = min(pieces[piece].iov_len - done, buffer.count - filled)
      // Both ranges have `count` bytes; the payload's owner keeps it valid.
      (buffer.baseAddress! + filled).copyMemory(
        from: pieces[piece].iov_base + done, byteCount: count)
      filled += count
      done += count
      if done == pieces[piece].iov_len { (piece, done) = (piece + 1, 0) }
    }
  }

  func readv(_ pieces: UnsafeBufferPointer<MultiFDIOVec>) throws {
    for piece in pieces {
      try read(into: UnsafeMutableRawBufferPointer(start: piece.iov_base, count: piece.iov_len))
    }
  }
}
