import Foundation

/// Executable files that tests make, each written by another process: a child that another test is
/// just starting would have a copy of a descriptor of ours, and a file that somebody has open for
/// writing cannot be started.
public enum Program {
  /// Makes one of a script.
  public static func write(_ script: String, to path: String) throws {
    let text = path + ".text"
    try script.write(toFile: text, atomically: false, encoding: .utf8)
    try copy(text, to: path)
    try FileManager.default.removeItem(atPath: text)
  }

  /// Makes one of another, or of a script in a file, for its owner only.
  public static func copy(_ program: String, to path: String) throws {
    let install = try ChildProcess(["/usr/bin/install", "-m", "700", program, path])
    guard install.wait(.seconds(20)) == .code(0) else {
      throw LabError("making \(path): \(install.errors.text)")
    }
  }
}
