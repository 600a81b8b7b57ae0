import Foundation

/// How long the tests by chance run, and what is tried at all that takes long: briefly in `make
/// test`, long in `make soak` and `make judge`.
public enum Soak {
  /// `MULTIFD_SOAK=1`.
  public static let isOn = ProcessInfo.processInfo.environment["MULTIFD_SOAK"] == "1"

  /// So many rounds, or ten times as many.
  public static func rounds(_ count: Int) -> Int { isOn ? count * 10 : count }
}
