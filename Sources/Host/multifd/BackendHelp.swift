import Foundation
import PluginLoader

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
      print(try PluginLoader(searchPath: PluginSearchPath(explicit: folders)).load(named: name).optionsHelp(width: 80))
    } catch {
      Console.error(error.what, error.why, hint: error.hint)
      exit(error.kind == .options ? 64 : 2)
    }
    return true
  }
}
