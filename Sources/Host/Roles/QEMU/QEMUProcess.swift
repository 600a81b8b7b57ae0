// QEMU: its process, its monitor, what it says.

import Glibc
import Migration
import System

/// Starting QEMU processes. ``Child`` ends them.
enum QEMUProcess {
  /// Starts one.
  ///
  /// It gets what this process was started with beyond stderr: an operator may have opened a tap
  /// for it.
  ///
  /// - Parameters:
  ///   - arguments: program first, looked for in PATH.
  ///   - output: a file for its stdout and stderr; nil: both go to this process's stderr.
  ///   - outlives: in a session of its own, so that what ends this process does not end it.
  static func start(
    _ arguments: [String], output: Int32? = nil, outlives: Bool = false
  ) throws(Failure) -> Child {
    let output = Child.Output.descriptor(output ?? STDERR_FILENO)
    do {
      return try Child(
        arguments, output: output, errors: output, passing: nil,
        in: outlives ? .ownSession : .ourGroup)
    } catch {
      throw Failure(.failed, "qemu", "cannot start \(arguments[0]): \(error.reason)")
    }
  }
}
