import Glibc
import Migration

/// The operator's command that makes sure that the primary is dead. Unless it exits 0, in time, nothing
/// is started.
struct Fence {
  let command: String
  /// Seconds that it may take.
  let timeout: Double

  /// Runs the command to its end. Its stdin is empty, what it prints goes on to this process's stderr: through a pipe,
  /// so that what it leaves running keeps nobody waiting who reads that.
  ///
  /// - Parameter started: gets the process, which another thread may then end; may refuse it.
  func run(started: (Child) throws -> Void) throws {
    // A group of its own: a shell's children are to end with it.
    let child: Child
    let output: OutputPipe
    do {
      output = try OutputPipe()
      child = try Child(["/bin/sh", "-c", command], output: output.input, leadsGroup: true)
    } catch { throw Failure(.failed, "fence", Failure(error, at: "fence").why) }
    defer { child.kill() }
    try started(child)
    let deadline = ContinuousClock.now + .seconds(timeout)
    while true {
      let status = child.status
      // What it said before it ended is there by now.
      output.pass(on: STDERR_FILENO)
      if let status {
        guard Child.exitCode(status) == 0 else {
          throw Failure(
            .failed, "fence",
            "'\(command)' ended with \(Child.describe(status)): nothing is started",
            hint: "two running copies are worse than none")
        }
        return
      }
      guard ContinuousClock.now < deadline else {
        throw Failure(
          .failed, "fence", "'\(command)' did not end within \(timeout) s: nothing is started",
          hint: "it was killed; look at the primary, and give --fence-timeout more if it needs it")
      }
      usleep(2000)
    }
  }
}
