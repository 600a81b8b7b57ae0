import ArgumentParser
import Migration
import PluginLoader

/// What the process ends with. Nowhere else is a failure a number.
extension ExitCode {
  /// The guest runs here now.
  static let failedOver = ExitCode(5)
  /// The command line is wrong.
  static let usage = ExitCode(64)

  /// For a failure.
  init(_ kind: Failure.Kind) {
    let code: Int32 =
      switch kind {
      case .failed: 1
      case .refused: 2
      case .unreachable: 3
      case .corrupt: 4
      case .usage: Self.usage.rawValue
      case .internalError: 70
      case .signal(let number): 128 + number
      }
    self.init(code)
  }

  /// For a backend's.
  init(_ kind: PluginError.Kind) { self.init(Failure.Kind(kind)) }
}
