import ArgumentParser
import Foundation

/// An option of a command, as the command says of itself.
struct CommandOption {
  /// What it wants.
  enum Kind {
    case flag, value, list
    /// `--name` and `--no-name`.
    case choice
    /// What stands behind `--`.
    case rest
  }

  /// Its long name, which is its key in a file too; ``restKey`` for what stands behind `--`.
  let name: String
  let kind: Kind
  /// As text; nil: there is none.
  let standard: String?
  /// Whether help has it.
  let isShown: Bool

  /// The key of the command behind `--`.
  static let restKey = "command"

  /// Whether a word of a command line is this option.
  func isGiven(by word: String) -> Bool {
    word == "--\(name)" || word.hasPrefix("--\(name)=")
      || (kind == .choice && word == "--no-\(name)")
  }

  /// All of a command's, but those that every command has and those of ``ConfigArguments``.
  static func all(of command: any ParsableCommand.Type) -> [CommandOption] {
    // The form is the argument parser's, of the version that is built in.
    guard let dump = try? JSONDecoder().decode(Dump.self, from: Data(command._dumpHelp().utf8))
    else { return [] }
    let arguments = dump.command.arguments ?? []
    let flags = Set(arguments.filter { $0.kind == "flag" }.compactMap(\.long))
    return arguments.compactMap { argument in
      guard argument.kind != "positional" else {
        return CommandOption(name: restKey, kind: .rest, standard: nil, isShown: true)
      }
      let without = ["help", "version", "config", "print-config"]
      guard let name = argument.long, !without.contains(name) else { return nil }
      // The second of the two names of a choice.
      if flags.contains(name), name.hasPrefix("no-"), flags.contains(String(name.dropFirst(3))) {
        return nil
      }
      let kind: Kind =
        if flags.contains(name) {
          flags.contains("no-" + name) ? .choice : .flag
        } else {
          argument.isRepeating ? .list : .value
        }
      return CommandOption(
        name: name, kind: kind, standard: argument.defaultValue, isShown: argument.shouldDisplay)
    }
  }

  /// As much of `--experimental-dump-help` as is asked for here.
  private struct Dump: Decodable {
    struct Command: Decodable { var arguments: [Argument]? }
    struct Argument: Decodable {
      struct Name: Decodable { var kind, name: String }

      var kind: String
      var names: [Name]?
      var isRepeating, shouldDisplay: Bool
      var defaultValue: String?

      var long: String? { names?.first { $0.kind == "long" }?.name }
    }

    var command: Command
  }
}
