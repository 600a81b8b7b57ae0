// The plug-in author's kit, tried as an author uses it: the examples and the skeletons are built
// with their language's own tool in folders of their own, put through multifd-harness, and read
// each other's payloads.
//
// What a machine lacks (a compiler, a QEMU) is said as SKIPPED, loudly, and never
// passes.

import Foundation
import TestSupport
import Testing

/// Everything about the author's kit.
@Suite("The author's kit")
struct ExamplesTests {
  /// The source tree.
  static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().standardizedFileURL.path

  /// The folder of multifd_plugin.h.
  static let include = root + "/Sources/PluginAPI/include"

  /// Cancels the running test case with a reason, which is printed too.
  static func skip(_ reason: SkipReason, _ what: String) throws -> Never {
    reason.announce(what)
    try Test.cancel("SKIPPED: \(what): \(reason)")
  }

  /// Cancels the running test case when there is a reason.
  static func skip(if reason: SkipReason?, _ what: String) throws {
    if let reason { try skip(reason, what) }
  }
}

/// A folder of `Examples`.
enum Example: String, CaseIterable, CustomTestStringConvertible {
  case rleC = "rle-c"
  case rleCxx = "rle-cxx"
  case rleRust = "rle-rust"
  case rleSwift = "rle-swift"
  case delta
  case pool
  case zstdDict = "zstd-dict"

  /// Those of one wire format.
  static let rle: [Example] = [.rleC, .rleCxx, .rleRust, .rleSwift]

  var testDescription: String { rawValue }

  /// What it is written in.
  var language: Language {
    switch self {
    case .rleC, .delta, .pool, .zstdDict: .c
    case .rleCxx: .cxx
    case .rleRust: .rust
    case .rleSwift: .swift
    }
  }

  /// Why it cannot be built here; nil when it can.
  var unavailable: SkipReason? {
    language.unavailable
  }
}

/// A language in which `multifd plugins new` writes a backend.
enum Language: String, CaseIterable, CustomTestStringConvertible {
  case c
  case cxx = "c++"
  case rust
  case swift
  case python

  var testDescription: String { rawValue }

  /// Why it cannot be compiled here; nil when it can.
  var unavailable: SkipReason? {
    let tools =
      switch self {
      case .c: ["cc"]
      case .cxx: ["c++"]
      case .rust: ["cargo"]
      case .swift: ["swiftc"]
      case .python: ["cc", "python3"]
      }
    for tool in ["make"] + tools where Tool.path(tool) == nil {
      return SkipReason("there is no \(tool) on PATH")
    }
    return nil
  }
}

/// Programs that the tests start.
enum Tool {
  /// A program on PATH; nil when there is none of that name.
  static func path(_ name: String) -> String? {
    (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
      .map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
  }

  /// Runs a command to its end. Throws, with what it printed, when it does not end well.
  @discardableResult
  static func run(_ arguments: [String], _ timeout: Duration = .seconds(300)) throws -> String {
    let process = try ChildProcess(arguments)
    let exit = process.wait(timeout)
    process.kill()
    guard exit == .code(0) else {
      throw LabError(
        "\(arguments.joined(separator: " ")): \(exit.map { "\($0)" } ?? "no end within \(timeout)")\n"
          + "\(process.output.text.suffix(3000))\n\(process.errors.text.suffix(3000))")
    }
    return process.output.text
  }
}
