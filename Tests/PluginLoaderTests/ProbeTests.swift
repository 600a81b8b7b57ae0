import Foundation
import Glibc
import PluginLoader
import Testing

/// What a library may do in the child process that tries it: everything, and the host goes on.
@Suite("Probing", .compiler)
struct ProbeTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let macros: [String: String]
    let says: [String]
  }

  static let crashes: [Case] = [
    Case(
      testDescription: "aborts in its constructor", macros: ["CONSTRUCTOR": "abort()"],
      says: ["signal 6", "while it was opened"]),
    Case(
      testDescription: "writes to nowhere in its constructor",
      macros: ["CONSTRUCTOR": "*(volatile int *)16 = 1"],
      says: ["signal 11", "while it was opened"]),
    Case(
      testDescription: "exits with 0 in its constructor", macros: ["CONSTRUCTOR": "exit(0)"],
      says: ["exit code 0", "while it was opened"]),
    Case(
      testDescription: "exits at once with 3", macros: ["CONSTRUCTOR": "_exit(3)"],
      says: ["exit code 3", "while it was opened"]),
    Case(
      testDescription: "crashes in its entry point", macros: ["ENTRY": "abort()"],
      says: ["signal 6", "inside multifd_plugin_entry()"]),
    Case(
      testDescription: "returns a wild table",
      macros: ["ENTRY": "return (const MultiFDMethods *)0x1000"],
      says: ["signal 11", "while its table was read"]),
    Case(
      testDescription: "has a wild name", macros: ["NAME": "(const char *)0x1000"],
      says: ["signal 11", "while its table was read"]),
    Case(
      testDescription: "has a wild option table", macros: ["OPTIONS": "0x1000"],
      says: ["signal 11", "while its table was read"]),
    Case(
      testDescription: "has a wild callback", macros: ["PAYLOAD_BOUND": "(void *)0x1000"],
      says: ["signal 11", "while its table was read"]),
    Case(
      testDescription: "prints", macros: ["CONSTRUCTOR": "puts(\"hello there\")"],
      says: ["printed 'hello there'"]),
    Case(
      testDescription: "complains on stderr from its entry point",
      macros: ["ENTRY": "fputs(\"no licence\\n\", stderr)"], says: ["printed 'no licence'"]),
    Case(
      testDescription: "writes on whatever is open",
      macros: ["CONSTRUCTOR": "for (int fd = 3; fd < 70000; fd++) write(fd, \"c\\0\\0\\0\\0\", 5)"],
      says: ["wrote into the account of multifd-probe"]),
    Case(
      testDescription: "tells of a table that it has not",
      macros: [
        "CONSTRUCTOR": "for (int fd = 3; fd < 70000; fd++) write(fd, \"\\6\\1\\0\\0\\0x\", 6)"
      ],
      says: ["wrote into the account of multifd-probe"]),
  ]

  @Test("a library that misbehaves is a reason", arguments: crashes)
  func crash(_ bad: Case) throws {
    let folder = try TestFolder()
    let file = try Compiler.plugin(in: folder.path, bad.macros)
    let error = try #require(loadError(loader(folder.path)))
    #expect(error.kind == .probeCrashed)
    #expect(error.what == file)
    for text in bad.says { #expect(error.why.contains(text), "\(error.why)") }
    #expect(dlopen(file, RTLD_NOW | RTLD_NOLOAD) == nil, "it was opened in this process")
  }

  static let hangs: [(String, [String: String])] = [
    ("in its constructor", ["CONSTRUCTOR": "for (;;) pause()"]),
    (
      "with its descriptors closed",
      ["CONSTRUCTOR": "for (int i = 0; i < 99; i++) close(i); for (;;) pause()"]
    ),
    ("in its entry point", ["ENTRY": "for (;;)"]),
    ("in payload_bound", ["BOUND": "({ for (;;) pause(); 0; })"]),
    ("while printing for ever", ["CONSTRUCTOR": "for (;;) puts(\"y\")"]),
    (
      "ignoring signals",
      ["CONSTRUCTOR": "for (int i = 1; i < 32; i++) signal(i, SIG_IGN); for (;;) pause()"]
    ),
  ]

  @Test("a library that hangs is ended", arguments: hangs)
  func hang(_ bad: (String, [String: String])) throws {
    let folder = try TestFolder()
    try Compiler.plugin(in: folder.path, bad.1)
    let error = try #require(loadError(loader(folder.path, timeLimit: .milliseconds(300))))
    #expect(error.kind == .probeCrashed)
    #expect(error.why.contains("within its time limit of 0.3 seconds"), "\(error.why)")
  }

  @Test("a refusal is remembered until the file changes")
  func remembered() throws {
    let folder = try TestFolder()
    let note = folder.path + "/runs"
    let code = "int f = open(\"\(note)\", 02101, 0600); write(f, \"x\", 1); close(f); abort()"
    func runs() -> Int { (try? Data(contentsOf: URL(fileURLWithPath: note)).count) ?? 0 }
    try Compiler.plugin(
      in: folder.path, ["CONSTRUCTOR": code])
    let loader = loader(folder.path)
    let first = try #require(loadError(loader))
    #expect(runs() == 1)
    #expect(loadError(loader) == first)
    #expect(runs() == 1, "it was tried again though it had not changed")
    try FileManager.default.removeItem(atPath: folder.path + "/libmultifd-sample.so")
    try Compiler.plugin(in: folder.path)
    #expect(try loader.load(named: "sample").version == "1.2.3")
  }

  @Test("what is said of a file under one name is not said of it under another")
  func names() throws {
    let folder = try TestFolder()
    let file = try Compiler.plugin(in: folder.path)
    try #require(symlink(file, folder.path + "/libmultifd-other.so") == 0)
    let loader = loader(folder.path)
    let wrong = try #require(loadError(loader, "other"))
    #expect(wrong.why.contains("calls itself 'sample'"))
    #expect(try loader.look(at: "sample").version == "1.2.3")
    #expect(loadError(loader, "other") == wrong)
  }

  @Test("to look at a library is not to open it, and tells the same")
  func look() throws {
    let folder = try TestFolder()
    let file = try Compiler.plugin(in: folder.path)
    let loader = loader(folder.path)
    let profile = try loader.look(at: "sample")
    #expect(dlopen(file, RTLD_NOW | RTLD_NOLOAD) == nil, "it was opened in this process")
    let backend = try loader.load(named: "sample")
    #expect(backend.profile.facts.map(\.value) == profile.facts.map(\.value))
    #expect(backend.options == profile.options && backend.capabilities == profile.capabilities)
  }

  @Test("a library with an undefined symbol is refused by its name")
  func undefined() throws {
    let folder = try TestFolder()
    try Compiler.plugin(
      in: folder.path, ["ENTRY": "extern int symbol_of_the_host(void); symbol_of_the_host()"])
    let error = try #require(loadError(loader(folder.path)))
    #expect(error.kind == .refused)
    #expect(error.why.contains("undefined symbol: symbol_of_the_host"), "\(error.why)")
  }
}
