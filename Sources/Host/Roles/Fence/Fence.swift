import Glibc
import Migration
import System

/// The operator's command that makes sure that the other side does not run the guest: that the
/// primary is dead, or that the standby does not go on. Unless it exits 0, in time, the guest does
/// not go on here.
struct Fence {
  let command: String
  /// Seconds that it may take.
  let timeout: Double
  /// Who is made sure of: `primary`, `standby`.
  let peer: String
  /// What does not happen without it.
  let otherwise: String

  /// Runs the command to its end. Its stdin is empty, what it prints goes on to this process's
  /// stderr: through a pipe, so that what it leaves running keeps nobody waiting who reads that.
  ///
  /// - Parameter started: gets the process, which another thread may then end; may refuse it.
  func run(started: (Child) throws -> Void) throws {
    let (child, output) = try start()
    // What an orderly end leaves running is the command's own affair.
    defer { if child.isAlive { child.kill() } }
    try started(child)
    guard child.follow(output, within: .seconds(timeout.timeLimit)) else {
      throw Failure(
        .failed, "fence", "'\(command)' did not end within \(timeout) s: \(otherwise)",
        hint: "it was killed; look at the \(peer), and give --fence-timeout more if it needs it")
    }
    guard let status = child.status, status.code == 0 else {
      throw Failure(
        .failed, "fence",
        "'\(command)' ended with \(child.status ?? .unknown): \(otherwise)",
        hint: "two running copies are worse than none")
    }
  }

  private func start() throws(Failure) -> (Child, OutputPipe) {
    let output: OutputPipe
    do { output = try OutputPipe(.passedOn(to: STDERR_FILENO)) } catch {
      throw Failure(error, at: "fence")
    }
    do {
      // A group of its own: a shell's children are to end with it.
      let child = try Child(
        ["/bin/sh", "-c", command], output: .descriptor(output.input),
        errors: .descriptor(output.input), passing: nil, in: .ownGroup)
      return (child, output)
    } catch {
      throw Failure(.failed, "fence", "cannot start /bin/sh: \(error.reason)")
    }
  }
}
