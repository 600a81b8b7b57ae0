import Foundation
import Glibc
import PluginLoader
import TestSupport
import Testing

/// `multifd plugins list` and its kin: what they say of files, and that they say it without having
/// opened any.
@Suite(
  "The list of plugins", .compiler,
  .enabled(if: Command.isThere, "SKIPPED: the multifd beside the test runner has no 'plugins'"))
struct ListTests {
  let folder: TestFolder

  init() throws { folder = try TestFolder() }

  /// The rows of the list about files in the test's own folder, their first words.
  private func names(_ output: String) -> [String] {
    output.split(separator: "\n").dropFirst().compactMap { $0.split(separator: " ").first }
      .map(String.init)
  }

  @Test(
    "nothing but multifd-probe ever opens a library for it",
    arguments: [
      ["plugins", "list"], ["plugins", "list", "--json"], ["plugins", "show", "sample"],
      ["plugins", "check", "sample"], ["receive", "--compression", "sample", "--help"],
    ])
  func opener(_ command: [String]) throws {
    let note = folder.path + "/openers"
    let code = """
      char name[16]; prctl(16, name); FILE *f = fopen("\(note)", "a"); \
      fprintf(f, "%s\\n", name); fclose(f)
      """
    try Compiler.plugin(in: folder.path, ["CONSTRUCTOR": code])
    let result = try Command.run(command + ["--plugin-dir", folder.path])
    #expect(result.code == 0, "\(result.errors)")
    #expect(try String(contentsOfFile: note, encoding: .utf8) == "multifd-probe\n")
  }

  @Test("each row comes as soon as all before it are known")
  func rows() throws {
    for name in ["a", "c"] { try Compiler.plugin(in: folder.path, name: name) }
    let go = folder.path + "/go"
    try Compiler.plugin(
      in: folder.path, name: "b", ["CONSTRUCTOR": "while (access(\"\(go)\", F_OK)) usleep(1000)"])
    let list = try MultiFDProcess(["plugins", "list", "--plugin-dir", folder.path])
    let first = list.process.output.wait(.seconds(9)) { $0.text.hasPrefix("a ") ? $0 : nil }
    #expect(first != nil, "nothing is said of one while another is being tried")
    #expect(FileManager.default.createFile(atPath: go, contents: nil))
    #expect(names(try list.wait().output).prefix(3) == ["a", "b", "c"])
  }

  @Test(
    "libraries are tried side by side",
    .enabled(if: sysconf(Int32(_SC_NPROCESSORS_ONLN)) > 1, "SKIPPED: needs two processors"))
  func sideBySide() throws {
    // Each waits for the other.
    for (name, other) in [("a", "b"), ("b", "a")] {
      let code = """
        fclose(fopen("\(folder.path)/\(name)", "w")); \
        while (access("\(folder.path)/\(other)", F_OK)) usleep(1000)
        """
      try Compiler.plugin(in: folder.path, name: name, ["CONSTRUCTOR": code])
    }
    let result = try Command.run("plugins", "list", "--plugin-dir", folder.path)
    #expect(!result.output.contains("cannot be used"), "\(result.output)")
  }

  @Test("each can be used, so each is listed as such, whatever they would take of one process")
  func many() throws {
    // Static TLS: a process has about 1600 bytes of it to give to what it opens.
    let hog =
      "static __thread volatile char hog[512] __attribute__((tls_model(\"initial-exec\"))); hog[0] = 1"
    for number in 1...8 {
      try Compiler.plugin(in: folder.path, name: "hog\(number)", ["ENTRY": hog])
    }
    let json = try #require(
      try Command.run("plugins", "list", "--json", "--plugin-dir", folder.path).json()
        as? [[String: Any]])
    let hogs = json.filter { ($0["name"] as? String)?.hasPrefix("hog") == true }
    #expect(hogs.count == 8)
    #expect(hogs.allSatisfy { $0["usable"] as? Bool == true }, "\(hogs)")
    #expect(hogs.first?["path"] as? String == folder.path + "/libmultifd-hog1.so")
  }

  @Test("where nothing can be used it says so, and where it has looked")
  func nothing() throws {
    let program = try Copy(in: folder)
    let empty = try program.run("plugins", "list")
    #expect(empty.code == 0)
    #expect(
      empty.output
        == "No backend can be used. Searched: \(program.folder), \(program.folder)/../lib/multifd\n"
    )
    try Compiler.plugin(in: program.folder, name: "bad", ["VERSION": "\"\""])
    let bad = try program.run("plugins", "list")
    #expect(bad.output.hasPrefix("NAME  VERSION  FORMAT  QEMU  DESCRIPTION\nbad   -  "))
    #expect(bad.output.contains("\n\nNo backend can be used."), "\(bad.output)")
  }

  /// The programs in a folder of their own, which has no backend in it.
  private struct Copy {
    let folder: String

    init(in place: TestFolder) throws {
      folder = try place.folder("bin")
      for program in ["multifd", "multifd-probe"] {
        try Program.copy(Command.folder + "/" + program, to: folder + "/" + program)
      }
    }

    func run(_ arguments: String...) throws -> Command.Result {
      try Command.run(program: folder + "/multifd", arguments)
    }
  }
}
