import ArgumentParser
import System

/// Numbers of seconds on the command line.
enum TimeOut {
  /// Refuses one that is no time-out.
  ///
  /// - Parameter option: as it is written: `--timeout`.
  static func check(_ seconds: Double, _ option: String) throws {
    guard seconds.isTimeOut else {
      let longest = Int(Double.longestTimeOut)
      throw ValidationError("\(option) must be more than 0 and at most \(longest)")
    }
  }
}
