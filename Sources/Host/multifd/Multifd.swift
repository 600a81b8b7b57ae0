// The command line. Parses, prints, exits; no logic.

import ArgumentParser
import Foundation
import Migration
import PluginLoader
import Roles
import Synchronization
import Version

/// The root command.
struct Multifd: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "multifd",
    abstract: "Hold and move running guests of stock QEMUs.",
    discussion: """
      Speaks QEMU's migration stream, multifd included; page payloads go through backends that are \
      loaded at run time.

      'multifd --config FILE' does what the file says: its key role names the command, the others are the command's \
      options (multifd.toml(5)).

      Exit codes: 0 done; 1 failed, the guest is safe where it was; 2 refused; \
      3 peer unreachable or silent; 4 corrupt stream; 5 failover taken; 64 usage; 70 internal; 128+n signal n.
      """,
    version: multifdVersion,
    subcommands: [
      ReceiveCommand.self, ProtectCommand.self, SendCommand.self, RelayCommand.self,
      FailoverCommand.self,
      StatusCommand.self, ControlCommand.self, StoreCommand.self, InspectCommand.self,
      PluginsCommand.self,
      BenchCommand.self,
    ])
}

@main
enum Main {
  static func main() {
    ProcessStart.prepare()
    if BackendHelp.printIfRequested(CommandLine.arguments) { return }
    let configuration: Configuration
    do throws(Failure) {
      configuration = try Configuration(Array(CommandLine.arguments.dropFirst()))
    } catch { finish { throw error } }
    var command: any ParsableCommand
    do {
      command = try Multifd.parseAsRoot(configuration.words)
    } catch {
      if Multifd.exitCode(for: error).isSuccess {  // --help, --version
        print(Multifd.fullMessage(for: error))
        exit(0)
      }
      Console.error(
        "usage", configuration.placing(Multifd.message(for: error)), hint: "multifd --help")
      exit(ExitCode.usage.rawValue)
    }
    if let role = command as? any LoggingCommand {
      Console.format.withLock { $0 = role.figures.logFormat.settled }
    }
    if configuration.wantsPrint { finish { print(configuration.text) } }
    finish { try command.run() }
  }

  /// Does what a command does, says what has become of it, and ends the process.
  static func finish(_ body: () throws -> Void) -> Never {
    do {
      try body()
      exit(0)
    } catch let failure as Failure {
      Console.error(failure.what, failure.why, hint: failure.hint)
      exit(ExitCode(failure.kind).rawValue)
    } catch let code as ExitCode {
      exit(code.rawValue)
    } catch {
      if Multifd.exitCode(for: error).isSuccess { Multifd.exit(withError: error) }
      Console.error("usage", Multifd.message(for: error), hint: nil)
      exit(ExitCode.usage.rawValue)
    }
  }
}
