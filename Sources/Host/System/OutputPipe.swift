import CLinux
import Glibc

/// What a child prints, by way of a pipe: a copy of our own descriptor would keep whoever reads
/// that waiting for all that the child leaves running.
///
/// ``Child/follow(_:within:)`` reads it.
public final class OutputPipe {
  /// What becomes of it.
  public enum Use {
    /// It is kept, up to so many bytes; what is beyond is dropped, so that the child is not held
    /// up.
    case kept(Int)
    /// It is written on.
    case passedOn(to: Int32)
  }

  /// For the child; -1 from when it is followed.
  public private(set) var input: Int32
  /// What was read, as far as it is kept.
  public private(set) var bytes: [UInt8] = []
  /// What can be waited for; -1 once all writers are gone.
  private(set) var readable: Int32
  private let output: Int32
  private let use: Use

  /// An empty one.
  public init(_ use: Use) throws(SystemError) {
    var ends: [Int32] = [-1, -1]
    guard clinux_pipe(&ends) == 0 else { throw SystemError("pipe2") }
    (output, input) = (ends[0], ends[1])
    readable = output
    self.use = use
  }

  deinit {
    closeInput()
    close(output)
  }

  /// Without it the end would never show.
  func closeInput() {
    if input >= 0 { close(input) }
    input = -1
  }

  /// Reads what is there; of one that prints for ever, not for ever.
  ///
  /// - Returns: false when something is there that nobody takes: it stays where it is.
  @discardableResult
  func drain() -> Bool {
    guard readable >= 0 else { return true }
    return withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
      // As much as a pipe holds, and then some. It does not block (clinux_pipe), and the buffer
      // lives as long as the closure.
      for _ in 0..<64 {
        guard isTaken else { return false }
        let count = read(output, buffer.baseAddress, buffer.count)
        if count == 0 { readable = -1 }
        guard count > 0 else { return true }
        switch use {
        case .kept(let limit): bytes += buffer.prefix(min(count, max(0, limit - bytes.count)))
        case .passedOn(let descriptor): _ = write(descriptor, buffer.baseAddress, count)
        }
      }
      return true
    }
  }

  /// Whether as much as is read at once can be written on without waiting: a pipe that says so has
  /// room for PIPE_BUF bytes, 4096.
  private var isTaken: Bool {
    guard case .passedOn(let descriptor) = use else { return true }
    var polled = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    return poll(&polled, 1, 0) != 0
  }
}
