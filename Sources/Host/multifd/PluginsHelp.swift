import PluginLoader

/// `--compression NAME --help`, in any command: the backend's own options instead of the command's help.
/// An argument parser cannot know those, so the raw arguments are looked at before it is asked.
enum PluginsHelp {
  /// The text to print (and then to exit with 0), or nil when the arguments do not ask for it. Throws
  /// when the backend that they name cannot be used.
  static func text(for arguments: [String]) throws(PluginError) -> String? {
    // What follows `--` belongs to another program.
    let own = arguments.prefix { $0 != "--" }
    guard own.contains("--help") || own.contains("-h") else { return nil }
    guard let spec = values(of: "--compression", in: own).last else { return nil }
    let folders = values(of: "--plugin-dir", in: own)
    let name = spec.split(separator: ",", maxSplits: 1, omittingEmptySubsequences: false)[0]
    let loader = PluginLoader(searchPath: PluginSearchPath(explicit: folders))
    return try loader.load(named: String(name)).optionsHelp(width: PluginsText.width)
  }

  /// The values of an option, written as `--option value` or `--option=value`.
  private static func values(of option: String, in arguments: ArraySlice<String>) -> [String] {
    var values: [String] = []
    for (index, argument) in arguments.enumerated() {
      if argument == option, index + 1 < arguments.count {
        values.append(arguments[arguments.startIndex + index + 1])
      } else if argument.hasPrefix(option + "=") {
        values.append(String(argument.dropFirst(option.count + 1)))
      }
    }
    return values.filter { !$0.hasPrefix("-") }
  }
}
