import CLinux
import Glibc
import Memory
import System

/// What a child prints, passed on: a copy of our own descriptor would keep whoever reads that waiting for all that the
/// child leaves running.
final class OutputPipe {
  /// For the child.
  let input: Int32
  private let output: Int32

  /// An empty one.
  init() throws(SystemError) {
    var ends: [Int32] = [-1, -1]
    guard clinux_pipe(&ends) == 0 else { throw SystemError("pipe2") }
    (output, input) = (ends[0], ends[1])
  }

  deinit {
    close(input)
    close(output)
  }

  /// Writes on what is there.
  func pass(on descriptor: Int32) {
    withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
      // The end does not block (clinux_pipe), and the buffer lives as long as the closure.
      while case let count = read(output, buffer.baseAddress, buffer.count), count > 0 {
        _ = write(descriptor, buffer.baseAddress, count)
      }
    }
  }
}
