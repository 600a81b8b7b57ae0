import ArgumentParser
import Foundation
import PluginLoader

/// Where plug-ins are looked for: shared by every command that loads one.
struct PluginFolders: ParsableArguments {
  @Option(
    name: .customLong("plugin-dir"),
    help: ArgumentHelp("Look for backends here first; may be repeated.", valueName: "dir"))
  var folders: [String] = []

  /// The loader for these folders.
  var loader: PluginLoader { Self.loader(folders) }

  static func loader(_ folders: [String]) -> PluginLoader {
    let executable = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
    return PluginLoader(
      searchPath: PluginSearchPath(
        explicit: folders, environment: ProcessInfo.processInfo.environment,
        executable: executable ?? CommandLine.arguments[0]))
  }
}

/// `multifd receive --compression zstd --help`: the backend's own options.
enum BackendHelp {
  static func printIfRequested(_ arguments: [String]) -> Bool {
    guard arguments.contains("--help") || arguments.contains("-h"),
      let flag = arguments.firstIndex(where: { $0.hasPrefix("--compression") })
    else { return false }
    let value: String
    if let equals = arguments[flag].firstIndex(of: "=") {
      value = String(arguments[flag][arguments[flag].index(after: equals)...])
    } else {
      guard flag + 1 < arguments.count, !arguments[flag + 1].hasPrefix("-") else { return false }
      value = arguments[flag + 1]
    }
    var folders: [String] = []
    for (index, argument) in arguments.enumerated() where argument == "--plugin-dir" {
      if index + 1 < arguments.count { folders.append(arguments[index + 1]) }
    }
    do {
      let name = try CompressionSpec(parsing: value).name
      print(try PluginFolders.loader(folders).load(named: name).name)
    } catch let error as PluginError {
      Console.error(error.what, error.why, hint: error.hint)
      exit(2)
    } catch {
      Console.error("usage", "\(error)", hint: nil)
      exit(64)
    }
    return true
  }
}
