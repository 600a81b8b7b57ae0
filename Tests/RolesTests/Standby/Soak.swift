import Foundation

/// How long the tests by chance run: briefly in `make test`, long in `make soak`.
enum Soak {
  /// `MULTIFD_SOAK=1`.
  static let isOn = ProcessInfo.processInfo.environment["MULTIFD_SOAK"] == "1"

  /// So many rounds, or ten times as many.
  static func rounds(_ count: Int) -> Int { isOn ? count * 10 : count }
}
