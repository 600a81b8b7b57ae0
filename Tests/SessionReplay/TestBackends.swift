import PluginLoader
import TestSupport

/// The backends that this build has made, and no others.
public enum TestBackends {
  /// Finds them beside the running executable.
  public static let loader = PluginLoader(
    searchPath: PluginSearchPath(
      explicit: [], environment: [:], executable: Lab.executableFolder + "/tests"))
}
