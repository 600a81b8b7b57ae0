// What the repository says about itself: its arrows, its version, its sources in other languages.

import Foundation
import TestSupport

/// The source tree, and the scripts in it.
enum Repository {
  static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().standardizedFileURL.path

  /// How a command ended and what it said.
  struct Ended {
    let code: Int32
    let output: String
    let errors: String
  }

  /// Runs a command to its end. Throws when it does not come to one.
  static func run(_ arguments: [String]) throws -> Ended {
    let process = try ChildProcess(arguments)
    let exit = process.wait(.seconds(300))
    process.kill()
    guard case .code(let code) = exit else {
      throw LabError(
        "\(arguments.joined(separator: " ")): \(exit.map { "\($0)" } ?? "no end")\n"
          + process.errors.text.suffix(3000))
    }
    return Ended(code: code, output: process.output.text, errors: process.errors.text)
  }
}
