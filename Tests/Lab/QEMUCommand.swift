import ArgumentParser
import Glibc
import TestSupport

/// A stock QEMU as a command, wherever it is installed.
struct QEMUCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "qemu",
    abstract: "Runs one of the stock QEMUs with any arguments; it ends with whoever started it.",
    usage: "multifd-lab qemu VERSION [ARGS…]",
    discussion:
      "For commands that want a QEMU: multifd bench checkpoint --primary 'multifd-lab qemu 111'.")

  @Argument(help: "72, 100 or 111.")
  var version: QEMUVersion

  @Argument(parsing: .captureForPassthrough, help: "QEMU's own arguments.")
  var arguments: [String] = []

  func run() throws {
    guard version.isAvailableElseAnnounce("running QEMU \(version)") else { throw ExitCode(1) }
    let command = version.command(arguments)
    // C strings that live until the process is another one; execv() reads them.
    var pointers: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
    pointers.append(nil)
    execv(command[0], pointers)
    throw LabError("exec \(command[0]): \(String(cString: strerror(errno)))")
  }
}
