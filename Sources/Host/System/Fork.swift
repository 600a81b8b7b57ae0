import CLinux
import Glibc

/// A second process that goes on with what this one has in memory.
public enum Fork {
  /// What the child does. Its closure is the parent's, and is called in the child alone.
  private final class Task {
    let body: (SystemError?) -> Void
    init(_ body: @escaping (SystemError?) -> Void) { self.body = body }
  }

  /// Forks, before there is a second thread. The child ends when this process does.
  ///
  /// - Parameters:
  ///   - name: of the child, as tools show it; 15 bytes count.
  ///   - body: what the child does; it ends when that returns. Not in its first thread: see
  ///     `clinux_fork`. Given an error it can do nothing, for want of a thread, but say so.
  /// - Returns: the child's number.
  public static func start(_ name: String, _ body: (SystemError?) -> Void) throws(SystemError)
    -> pid_t
  {
    let pid = withoutActuallyEscaping(body) { body in
      let task = Task(body)
      // In the parent the call returns at once, and nobody has kept it. In the child it does not
      // return, so what is on this stack stays.
      return withExtendedLifetime(task) {
        clinux_fork(
          name,
          { context, error in
            let why =
              error == 0 ? nil : SystemError("starting the thread of a new process", errno: error)
            Unmanaged<Task>.fromOpaque(context!).takeUnretainedValue().body(why)
          },
          Unmanaged.passUnretained(task).toOpaque())
      }
    }
    guard pid >= 0 else { throw SystemError("fork") }
    return pid
  }
}
