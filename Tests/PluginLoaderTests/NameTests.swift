import Foundation
import Glibc
import PluginLoader
import TestSupport
import Testing

/// Names of files and folders are anybody's, and what is printed of them drives no terminal and
/// makes no line of its own.
@Suite(
  "Names that are not fit to be printed", .compiler,
  .enabled(if: Command.isThere, "SKIPPED: the multifd beside the test runner has no 'plugins'"))
struct NameTests {
  let folder: TestFolder
  /// A folder with such a name, and a good backend in it.
  let odd: String

  init() throws {
    folder = try TestFolder()
    odd = try folder.folder("odd\u{1b}[2J\nmultifd: error: \u{202e}\u{7f}")
    try Compiler.plugin(in: odd)
    for name in ["\u{1b}]0;x\u{7}", "a\nb", "\u{85}", "\u{202e}"] {
      #expect(FileManager.default.createFile(atPath: "\(odd)/libmultifd-\(name).so", contents: nil))
    }
    // No text at all.
    let bytes = Array("\(odd)/libmultifd-".utf8) + [0xff, 0x9b, 0xc3] + Array(".so\0".utf8)
    let file = bytes.withUnsafeBytes {
      open($0.bindMemory(to: CChar.self).baseAddress!, O_CREAT, 0o600)
    }
    try #require(file >= 0)
    close(file)
  }

  private func expectClean(_ output: String, _ lines: Int? = nil) {
    for scalar in output.unicodeScalars where scalar != "\n" {
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator:
        #expect(Bool(false), "U+\(String(scalar.value, radix: 16)) in \(output.debugDescription)")
        return
      default: break
      }
    }
    if let lines { #expect(output.split(separator: "\n").count == lines, "\(output)") }
  }

  @Test("in the list")
  func list() throws {
    let list = try Command.run("plugins", "list", "--plugin-dir", odd)
    expectClean(list.output)
    #expect(
      list.output.contains("odd\\x1b[2J\\x0amultifd: error: \\u{202e}\\x7f/libmultifd-a\\x0ab.so: ")
    )
    #expect(list.output.contains("libmultifd-\\x1b]0;x\\x07.so: "))
    #expect(list.output.split(separator: "\n").allSatisfy { !$0.hasPrefix("multifd: error:") })
    let json = try Command.run("plugins", "list", "--json", "--plugin-dir", odd)
    let all = try #require(json.json() as? [[String: Any]])
    #expect(all.count >= 6)
    for one in all {
      for key in ["name", "path"] { expectClean(try #require(one[key] as? String), 1) }
      if let error = one["error"] as? [String: Any] {
        for key in ["what", "why", "hint"] { expectClean(error[key] as? String ?? "-", 1) }
      }
    }
  }

  @Test("of one backend")
  func one() throws {
    for command in [
      ["show", "sample"], ["show", "sample", "--plain"], ["check", "sample"], ["path"],
    ] {
      let result = try Command.run(["plugins"] + command + ["--plugin-dir", odd])
      #expect(result.code == 0)
      expectClean(result.output)
    }
    for (command, key) in [(["show", "sample"], "path"), (["check", "sample"], "path")] {
      let result = try Command.run(["plugins"] + command + ["--json", "--plugin-dir", odd])
      let json = try #require(result.json() as? [String: Any])
      expectClean(try #require(json[key] as? String), 1)
    }
    let path = try Command.run("plugins", "path", "--json", "--plugin-dir", odd)
    let folders = try #require(path.json() as? [[String: Any]])
    expectClean(try #require(folders.first?["path"] as? String), 1)
  }

  @Test("in errors")
  func errors() throws {
    for name in ["none", "\u{1b}[2J", "a\nb"] {
      let error = try Command.run("plugins", "show", name, "--plugin-dir", odd)
      #expect(error.code == 2)
      // The error and its hint.
      expectClean(error.errors, 2)
    }
    try #require(chmod(odd, 0o777) == 0)
    expectClean(try Command.run("plugins", "show", "sample", "--plugin-dir", odd).errors, 2)
    expectClean(try Command.run("plugins", "check", "sample", "--plugin-dir", odd).errors, 2)
    expectClean(try Command.run("plugins", "path", "--plugin-dir", odd).output)
    expectClean(try Command.run("plugins", "list", "--plugin-dir", odd + "/no").errors, 2)
    let help = ["receive", "--compression", "sample", "--help", "--plugin-dir"]
    expectClean(try Command.run(help + [odd]).errors, 2)
    expectClean(try Command.run(help + [odd + "/no"]).errors, 2)
  }
}
