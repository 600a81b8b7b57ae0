import Foundation
import TestSupport

/// A shell script that multifd is to start.
enum Program {
  /// Makes an executable file of a script.
  ///
  /// Another process writes it: a child that another test is just starting would have a copy of a
  /// descriptor of ours, and a file that somebody has open for writing cannot be started.
  static func write(_ script: String, to path: String) throws {
    let text = path + ".text"
    try script.write(toFile: text, atomically: false, encoding: .utf8)
    let install = try ChildProcess(["/usr/bin/install", "-m", "700", text, path])
    guard install.wait(.seconds(20)) == .code(0) else {
      throw LabError("making \(path): \(install.errors.text)")
    }
    try FileManager.default.removeItem(atPath: text)
  }
}
