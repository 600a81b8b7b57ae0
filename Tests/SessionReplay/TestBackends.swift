import PluginLoader
import TestSupport

/// The backends that this build has made, and no others.
public enum TestBackends {
  /// Finds them beside the running executable.
  public static let loader = PluginLoader(
    searchPath: PluginSearchPath(
      explicit: [], environment: [:], executable: Lab.executableFolder + "/tests"))

  /// Finds those of a folder too, and first.
  public static func loader(with folder: String) -> PluginLoader {
    PluginLoader(
      searchPath: PluginSearchPath(
        explicit: [folder], environment: [:], executable: Lab.executableFolder + "/tests"))
  }
}
