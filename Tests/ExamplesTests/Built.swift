import Foundation
import TestSupport
import Testing

/// The examples, each copied and built once, and their libraries together in one folder.
final class Built: Sendable {
  static let shared = Built()

  private let folder = Result { try TemporaryFolder() }
  private let made = Monitor<[Example: Result<String, any Error>]>([:])

  /// The folder that has the libraries of all examples asked for so far.
  func libraries() throws -> String { try folder.get()("libraries") }

  /// The library of an example. Cancels the test case when it cannot be built on this machine.
  func library(_ example: Example) throws -> String {
    try ExamplesTests.skip(if: example.unavailable, "example \(example.rawValue)")
    // Under the lock: whoever asks for the same example waits for it instead of building it again.
    return try made.update { made in
      if let result = made[example] { return result }
      let result = Result { try build(example) }
      made[example] = result
      return result
    }.get()
  }

  private func build(_ example: Example) throws -> String {
    let files = FileManager.default
    let name = example.rawValue
    let copy = try folder.get()(name)
    try files.copyItem(atPath: "\(ExamplesTests.root)/Examples/\(name)", toPath: copy)
    try Tool.run([
      "make", "-C", copy, "clean", "libmultifd-\(name).so",
      "CPPFLAGS=-I\(ExamplesTests.include)",
    ])
    let libraries = try libraries()
    try files.createDirectory(
      atPath: libraries, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    let library = "\(libraries)/libmultifd-\(name).so"
    // Whole from the first moment: others look into the folder.
    try files.moveItem(atPath: "\(copy)/libmultifd-\(name).so", toPath: library)
    return library
  }
}

/// The harness, as a program.
enum Harness {
  static let path = Lab.executableFolder + "/multifd-harness"

  /// Why it cannot be run; nil when it can.
  static var unavailable: SkipReason? {
    FileManager.default.isExecutableFile(atPath: path)
      ? nil : SkipReason("there is no \(path): build everything, not one product")
  }

  /// Puts a library through the quick form of all tests, or a part of it by a lower level; `perf` too
  /// where it is asked for, since that group only tells. Throws with the harness's own report, or
  /// when a test takes longer than `seconds`.
  static func pass(
    _ library: String, plugins: String = Lab.executableFolder, perf: Bool = false, level: Int = 5,
    seconds: Int = 60
  ) throws {
    try ExamplesTests.skip(if: unavailable, "the harness")
    let arguments = [
      path, "--level", "\(level)", "--timeout", "\(seconds)", "--plugin-dir", plugins, library,
    ]
    try Tool.run(arguments + (perf ? [] : ["--skip", "perf"]), .seconds(900))
  }
}
