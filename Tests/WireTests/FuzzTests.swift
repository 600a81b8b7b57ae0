import Foundation
import Testing

/// A short run of `multifd-fuzz`, in a process of its own so that a trap is a failure with its
/// reproduction.
@Suite("Mutations of the recorded sessions")
struct FuzzTests {
  /// Beside the test runner, where the package's executables are built.
  static let executable = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
    .deletingLastPathComponent().appending(path: "multifd-fuzz")

  /// Runs it; the exit status and all that it said.
  private func run(_ arguments: [String]) throws -> (status: Int32, text: String) {
    let process = Process()
    process.executableURL = Self.executable
    process.arguments = arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return (process.terminationStatus, text)
  }

  @Test("300 mutations of each file give a typed error or a correct decode")
  func mutations() throws {
    let (status, text) = try run(["--count", "300", "--seed", "20260"])
    #expect(status == 0, "\(text.suffix(2000))")
    // 62 files of the sources and 10 answers; 9 frames of the link.
    #expect(text.split(separator: "\n").count { $0.contains(": 300 mutations, ") } == 81)
    let total = try #require(text.split(separator: "\n").last)
    #expect(total.hasPrefix("all files: 24300 mutations, "))
    for code in ["truncated", "badOffset", "badMagic", "unknownFlags", "limitExceeded"] {
      #expect(total.contains(code))
    }
  }

  @Test("The same seed does the same again")
  func reproduction() throws {
    let arguments = [
      "--count", "50", "--seed", "7", "--first", "1000", "--only", "bios-111-none-2ch/conn0",
    ]
    func outcomes() throws -> Substring {
      let (status, text) = try run(arguments)
      #expect(status == 0, "\(text)")
      let line = text.split(separator: "\n").last ?? ""
      return line.prefix(upTo: line.lastIndex(of: ",") ?? line.endIndex)
    }
    let first = try outcomes()
    #expect(first.contains("50 mutations"))
    #expect(try outcomes() == first)
  }
}
