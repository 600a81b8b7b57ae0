import Foundation
import TestSupport
import Testing

/// Apart from the author's kit, whose tests run one after the other: most of this one is waiting.
@Suite("A guest in a format of one's own")
struct OwnFormatTests {
  /// The blocks of commands that have this in them, in order.
  private func commands(with text: String) throws -> [String] {
    let lines = try String(contentsOfFile: ExamplesTests.root + "/Plugins.md", encoding: .utf8)
      .split(separator: "\n", omittingEmptySubsequences: false)
    // Every other part is a block.
    let parts = lines.split(omittingEmptySubsequences: false) { $0.hasPrefix("```") }
    return stride(from: 1, to: parts.count, by: 2)
      .map { parts[$0].joined(separator: "\n") }.filter { $0.contains(text) }
  }

  @Test(
    "a guest travels in the format of a new backend, by the manual's own commands",
    arguments: [Language.c, .python])
  func ownFormat(_ language: Language) throws {
    let qemu = QEMUVersion.v72
    try ExamplesTests.skip(
      if: language.unavailable ?? qemu.unavailable, "a guest in a format of one's own")
    try ExamplesTests.skip(if: MultiFDProcess.unavailable, "a guest in a format of one's own")
    let folder = try TemporaryFolder()
    let backend = folder("my-codec")
    let written = try MultiFDProcess.run(
      ["plugins", "new", "my-codec", "--language", language.rawValue, "--dir", backend])
    #expect(written.code == 0, "\(written)")
    try Tool.run(["make", "-C", backend, "CPPFLAGS=-I\(ExamplesTests.include)"])
    // Tried, and told to whoever looks at it.
    let library = backend + "/libmultifd-my-codec.so"
    try Tool.run([
      Lab.executableFolder + "/multifd-harness", library, "--level", "4", "--certificate",
      backend + "/libmultifd-my-codec.certificate.json",
    ])
    let shown = try MultiFDProcess.run(["plugins", "show", "my-codec", "--plugin-dir", backend])
    #expect(shown.code == 0 && shown.output.contains("level 4, multifd-harness"), "\(shown)")
    // What the manual calls qemu-system-x86_64 is a stock one, wherever it lies here.
    try FileManager.default.createDirectory(
      atPath: folder("bin"), withIntermediateDirectories: false)
    let words = qemu.command([]).map {
      "'" + $0.replacingOccurrences(of: "'", with: "'\\''") + "'"
    }
    try Program.write(
      "#!/bin/sh\nexec \(words.joined(separator: " ")) \"$@\"\n",
      to: folder("bin/qemu-system-x86_64"))
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
}
