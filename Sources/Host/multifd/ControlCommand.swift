import ArgumentParser
import Foundation
import Migration
import Roles
import Transport

/// `multifd control`.
struct ControlCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "control",
    abstract: "Tell a running receive, standby, send, relay or protect what to do.",
    usage: "multifd control (--store DIR | --control PATH) COMMAND [ARGUMENTS]",
    discussion: """
      Commands, in QMP's words where QEMU has them; ARGUMENTS are a JSON object:

        query-status                         what it is doing, all of it
        query-commands                       what can be told to it
        quit                                 as SIGTERM: it ends in order
        x-colo-lost-heartbeat                standby: the primary is lost; what --on-loss says happens now
        migrate-set-parameters               relay: '{"max-bandwidth": BYTES}' a second from now on, 0: no limit
        x-pause, x-continue                  relay: send nothing on; go on
        x-checkpoint                         protect: take a checkpoint soon

      The answer is printed as JSON. Exit code 1: it has refused; 3: nobody answers.
      """)

  @Option(
    help: ArgumentHelp("The folder of its store.", valueName: "dir"), completion: .directory)
  var store: String?

  @Option(
    help: ArgumentHelp("Its control socket, as it was told by --control.", valueName: "path"),
    completion: .file())
  var control: String?

  @Argument(help: "The command.")
  var command: String

  @Argument(help: ArgumentHelp("A JSON object.", valueName: "arguments"))
  var arguments: String?

  func validate() throws {
    guard (store == nil) != (control == nil) else {
      throw ValidationError("--store or --control: one of them")
    }
  }

  func run() throws {
    var values = QMPValue.null
    if let arguments {
      guard let parsed = QMPValue(parsing: arguments.utf8), case .object = parsed else {
        throw ValidationError("the arguments are no JSON object: '{\"max-bandwidth\": 1000000}'")
      }
      values = parsed
    }
    let path = control ?? store.map { $0 + "/control" } ?? ""
    Console.json(try Self.ask(path, command, values))
  }

  /// Asks whoever listens at a path.
  static func ask(
    _ path: String, _ command: String, _ arguments: QMPValue = .null
  ) throws(Failure) -> QMPValue {
    let connection: QMPSocket
    do { connection = try QMPSocket(.unix(path: path), within: 5) } catch {
      throw Failure(
        .unreachable, "control", "nobody answers at \(path): \(error.why)",
        hint: "a process has a control socket while it runs")
    }
    do {
      return try connection.execute(command, arguments, within: 10, outOfBand: false)
    } catch {
      throw Failure(error.kind == .refused ? .failed : .unreachable, "control", error.description)
    }
  }
}
