import Foundation
import TestSupport
import Testing

extension ExamplesTests {
  /// Plugins.md says what is.
  @Suite("The manual", .serialized)
  struct ManualTests {
    private static let manual = root + "/Plugins.md"

    /// The text of the first block of that language.
    private func block(_ language: String) throws -> String {
      let lines = try String(contentsOfFile: Self.manual, encoding: .utf8)
        .split(separator: "\n", omittingEmptySubsequences: false)
      let start = try #require(lines.firstIndex(of: "```\(language)"), "no such block")
      let body = lines[(start + 1)...].prefix { $0 != "```" }
      return body.map { $0 + "\n" }.joined()
    }

    @Test("the backend on the first screen builds and passes the harness")
    func firstScreen() throws {
      try skip(if: Language.c.unavailable, "the manual's backend")
      let folder = try TemporaryFolder()
      try block("c").write(toFile: folder("plain.c"), atomically: false, encoding: .utf8)
      let library = folder("libmultifd-plain.so")
      // The manual's own command, but for where the header is.
      try Tool.run([
        "cc", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror",
        "-I\(include)", "-o", library, folder("plain.c"),
      ])
      try Harness.pass(library)
    }

    @Test(
      "man pages are made without a warning, and have all that the header declares and --help says")
    func manPages() throws {
      for tool in ["lowdown", "jq", "mandoc", "cc"] where Tool.path(tool) == nil {
        try skip(SkipReason("there is no \(tool) on PATH"), "the man pages")
      }
      try skip(if: MultiFDProcess.unavailable ?? Harness.unavailable, "the man pages")
      try Tool.run([root + "/Support/man", "--check", "--bin", Lab.executableFolder])
    }

    @Test("tables that come from code are those of the code, and every rule names its tests")
    func generated() throws {
      try skip(if: Harness.unavailable, "the manual's tables")
      try Tool.run([
        root + "/Support/generate-docs", "--check", "--bin", Lab.executableFolder,
      ])
    }
  }
}
