import Glibc

/// The operator's command that makes sure that the primary is dead. Unless it exits 0, in time, nothing
/// is started.
struct Fence {
  let command: String
  /// Seconds that it may take.
  let timeout: Double

  /// Runs the command to its end. Its stdin is empty, its stdout is this process's stderr.
  ///
  /// - Parameter started: gets the process, which another thread may then end; may refuse it.
  func run(started: (Child) throws -> Void) throws {
    // A group of its own: a shell's children are to end with it.
    let child: Child
    do { child = try Child(["/bin/sh", "-c", command], leadsGroup: true) } catch {
      throw Failure(.failed, "fence", Failure(error, at: "fence").why)
    }
    defer { child.kill() }
    try started(child)
    let deadline = ContinuousClock.now + .seconds(timeout)
    while true {
      if let status = child.status {
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
