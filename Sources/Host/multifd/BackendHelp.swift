import ArgumentParser
import Foundation
import Migration
import PluginLoader
import Roles

/// `--compression NAME --help`, in the commands where NAME is a backend: its own options instead of
/// the command's help. An argument parser cannot know those, so the raw arguments are looked at
/// before it is asked.
enum BackendHelp {
  /// True when the arguments asked for it and it has been printed. Exits when the backend that they
  /// name cannot be used.
  static func printIfRequested(_ arguments: [String]) -> Bool {
    // What follows `--` belongs to another program.
    let own = arguments.prefix { $0 != "--" }
    // To `bench` it is a parameter of QEMU's.
    guard own.dropFirst().first != BenchCommand.configuration.commandName,
      own.contains("--help") || own.contains("-h"),
      let spec = values(of: "--compression", in: own).last
    else { return false }
    let folders = values(of: "--plugin-dir", in: own)
    if let obstacle = PluginOptions.obstacle(to: folders) {
      Console.error("usage", obstacle, hint: "multifd --help")
      exit(ExitCode.usage.rawValue)
    }
    let path = PluginSearchPath(explicit: folders)
    do {
      let name = try CompressionSpec(parsing: spec).name
      print(
        try PluginLoader(searchPath: path).look(at: name).optionsHelp(width: PluginsText.width))
      return true
    } catch {
      Console.error(error.what, error.why, hint: error.hint)
      exit(ExitCode(error.kind).rawValue)
    }
  }

  /// The values of an option, written as `--option value` or `--option=value`.
  private static func values(of option: String, in arguments: ArraySlice<String>) -> [String] {
    var values: [String] = []
    for (argument, next) in zip(arguments, arguments.dropFirst() + ["-"]) {
      if argument == option, !next.hasPrefix("-") { values.append(next) }
      if argument.hasPrefix(option + "=") {
        values.append(String(argument.dropFirst(option.count + 1)))
      }
    }
    return values
  }
}
