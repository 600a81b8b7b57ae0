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

    /// The blocks of commands that have this in them, in order.
    private func commands(with text: String) throws -> [String] {
      let lines = try String(contentsOfFile: Self.manual, encoding: .utf8)
        .split(separator: "\n", omittingEmptySubsequences: false)
      // Every other part is a block.
      let parts = lines.split(omittingEmptySubsequences: false) { $0.hasPrefix("```") }
      return stride(from: 1, to: parts.count, by: 2)
        .map { parts[$0].joined(separator: "\n") }.filter { $0.contains(text) }
    }

    @Test("a guest travels in the format of a new backend, by the manual's own commands")
    func ownFormat() throws {
      let qemu = QEMUVersion.v72
      try skip(if: Language.c.unavailable ?? qemu.unavailable, "a guest in a format of one's own")
      try skip(if: MultiFDProcess.unavailable, "a guest in a format of one's own")
      let folder = try TemporaryFolder()
      let backend = folder("my-codec")
      let written = try MultiFDProcess.run(
        ["plugins", "new", "my-codec", "--language", "c", "--dir", backend])
      #expect(written.code == 0, "\(written)")
      try Tool.run(["make", "-C", backend, "CPPFLAGS=-I\(ExamplesTests.include)"])
      // What the manual calls qemu-system-x86_64 is a stock one, wherever it lies here.
      try FileManager.default.createDirectory(
        atPath: folder("bin"), withIntermediateDirectories: false)
      let words = qemu.command([]).map {
        "'" + $0.replacingOccurrences(of: "'", with: "'\\''") + "'"
      }
      try "#!/bin/sh\nexec \(words.joined(separator: " ")) \"$@\"\n".write(
        toFile: folder("bin/qemu-system-x86_64"), atomically: false, encoding: .utf8)
      try Tool.run(["chmod", "+x", folder("bin/qemu-system-x86_64")])
      let port = try Sockets.freePort()
      let blocks = try commands(with: "multifd relay")
      try #require(blocks.count == 2)
      let terminals = try blocks.map { block in
        try ChildProcess([
          "/bin/sh", "-c",
          "cd '\(backend)' && PATH='\(folder("bin")):\(Lab.executableFolder)':$PATH\n"
            + block.replacingOccurrences(of: "4450", with: "\(port)") + "\nwait",
        ])
      }
      for terminal in terminals {
        _ = terminal.wait(.seconds(90))
        terminal.kill()
      }
      let (destination, source) = (terminals[0].output.text, terminals[1].output.text)
      let said = terminals.map { $0.output.text + $0.errors.text }.joined(separator: "\n")
      #expect(destination.contains("guest passed on to unix:vm.sock, which has it"), "\(said)")
      #expect(source.contains("(my-codec)"), "\(said)")
      #expect(destination.contains("VM status: running"), "\(said)")
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
