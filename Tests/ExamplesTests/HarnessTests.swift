import Foundation
import TestSupport
import Testing

extension ExamplesTests {
  /// The harness has nothing to say against them.
  @Suite("Examples and skeletons pass", .serialized, .early)
  struct HarnessTests {
    @Test("an example exports one symbol and nothing else", arguments: Example.allCases)
    func exports(_ example: Example) throws {
      let library = try Built.shared.library(example)
      guard Tool.path("nm") != nil else {
        try skip(SkipReason("there is no nm on PATH"), "exported symbols")
      }
      let symbols = try Tool.run(["nm", "-D", "--defined-only", library])
        .split(whereSeparator: \.isNewline).compactMap { $0.split(separator: " ").last }
      #expect(symbols == ["multifd_plugin_entry"])
    }

    @Test(
      "an example passes the harness",
      .enabled(if: Harness.unavailable == nil, "SKIPPED: no harness"),
      arguments: Example.allCases)
    func example(_ example: Example) throws {
      let library = try Built.shared.library(example)
      // The others of its wire format are there too, for the test that has them read each other.
      try Harness.pass(library, plugins: Built.shared.libraries(), perf: example == .pool)
    }

    @Test("what `multifd plugins new` writes builds and passes", arguments: Language.allCases)
    func skeleton(_ language: Language) throws {
      try skip(if: language.unavailable, "a skeleton in \(language.rawValue)")
      try skip(if: MultiFDProcess.unavailable, "multifd plugins new")
      let folder = try TemporaryFolder()
      let backend = folder("backend")
      let arguments = [
        "plugins", "new", "my-codec", "--language", language.rawValue, "--dir", backend,
      ]
      let written = try MultiFDProcess.run(arguments)
      #expect(written.code == 0, "\(written)")
      try Tool.run(["make", "-C", backend, "CPPFLAGS=-I\(ExamplesTests.include)"])
      let checked = try MultiFDProcess.run(
        ["plugins", "check", "my-codec", "--plugin-dir", backend])
      #expect(checked.code == 0, "\(checked)")
      // A prototype takes its time: most of it is for `make judge`.
      try Harness.pass(
        backend + "/libmultifd-my-codec.so", level: language == .python && !Soak.isOn ? 3 : 5,
        seconds: language == .python ? 300 : 60)
      // What is there is the author's: nothing is written over it.
      let again = try MultiFDProcess.run(arguments)
      #expect(again.code == 1)
      #expect(again.errorLine?.contains("is there already") == true, "\(again)")
    }

    @Test("a skeleton's sources build as they lie in the tree", arguments: Language.allCases)
    func sources(_ language: Language) throws {
      try skip(if: language.unavailable, "a skeleton in \(language.rawValue)")
      let folder = try TemporaryFolder()
      let copy = folder("copy")
      let skeletons = root + "/Sources/Host/Skeletons/"
      let name = language == .cxx ? "cxx" : language.rawValue
      // What the skeletons share with each other and with the examples are links.
      try Tool.run(["cp", "-RL", skeletons + name, copy])
      try Tool.run(["cp", "-L", skeletons + "common/plugin.map", copy])
      try Tool.run(["mv", "\(copy)/\(name).mk", copy + "/Makefile"])
      // Two files of one name cannot be embedded.
      if language == .rust {
        try Tool.run(["mv", copy + "/abi/abi.toml", copy + "/abi/Cargo.toml"])
      }
      let library = copy + "/libmultifd-new-backend.so"
      try Tool.run(["make", "-C", copy, "CPPFLAGS=-I\(ExamplesTests.include)"])
      // What is off for a prototype, it says itself.
      if language == .python {
        try Tool.run(["mv", copy + "/prototype.toml", copy + "/harness.toml"])
      }
      // They are those of the test before.
      try Harness.pass(library, level: 3)
    }

    @Test(
      "a name goes in as it is, whatever it has in it",
      arguments: ["new-backend", "new_backend", "x-new_backend", "new-backend-new_backend"])
    func name(_ name: String) throws {
      try skip(if: MultiFDProcess.unavailable, "multifd plugins new")
      let folder = try TemporaryFolder()
      let made = try MultiFDProcess.run(
        ["plugins", "new", name, "--language", "rust", "--dir", folder("x")])
      #expect(made.code == 0, "\(made)")
      let table = try String(contentsOfFile: folder("x/src/lib.rs"), encoding: .utf8)
      #expect(table.contains("name: c\"\(name)\".as_ptr()"))
      let format = name.hasPrefix("x-") ? name : "x-" + name
      #expect(table.contains("wire_format: c\"\(format)/1\".as_ptr()"))
      let manual = try String(contentsOfFile: folder("x/README.md"), encoding: .utf8)
      #expect(manual.contains("## Wire format `\(format)/1`\n"))
      let cargo = try String(contentsOfFile: folder("x/Cargo.toml"), encoding: .utf8)
      let library = name.map { $0 == "-" ? "_" : String($0) }.joined()
      #expect(cargo.contains("name = \"multifd-\(name)\"\n"))
      #expect(cargo.contains("name = \"multifd_\(library)\"\n"))
    }

    @Test(
      "a name that no backend can have is refused", arguments: ["Upper", "-x", "a/b", "a.b", ""])
    func badName(_ name: String) throws {
      try skip(if: MultiFDProcess.unavailable, "multifd plugins new")
      let result = try MultiFDProcess.run(["plugins", "new", "--language", "c", "--", name])
      #expect(result.code == 64, "\(result)")
    }

    @Test("a name is as long as its wire format's may be, and the harness takes that")
    func longName() throws {
      try skip(if: Language.c.unavailable, "a skeleton in C")
      try skip(if: MultiFDProcess.unavailable, "multifd plugins new")
      let folder = try TemporaryFolder()
      func new(_ name: String) throws -> MultiFDProcess.Result {
        try MultiFDProcess.run(["plugins", "new", name, "--language", "c", "--dir", folder(name)])
      }
      for length in [30, 31] {
        let long = String(repeating: "n", count: length)
        let refused = try new(long)
        #expect(refused.code == 64, "\(refused)")
        #expect(refused.errors.contains("its wire format is x-NAME/1"), "\(refused)")
        #expect(!FileManager.default.fileExists(atPath: folder(long)))
      }
      for name in [String(repeating: "n", count: 29), "x-" + String(repeating: "n", count: 29)] {
        let made = try new(name)
        #expect(made.code == 0, "\(made)")
        try Tool.run(["make", "-C", folder(name), "CPPFLAGS=-I\(ExamplesTests.include)"])
        let checked = try MultiFDProcess.run([
          "plugins", "show", name, "--plain", "--plugin-dir", folder(name),
        ])
        #expect(checked.output.contains("wire_format=x-\(String(repeating: "n", count: 29))/1\n"))
        try Tool.run([
          Lab.executableFolder + "/multifd-harness", "--level", "2",
          folder(name) + "/libmultifd-\(name).so",
        ])
      }
    }

    @Test("the header in Rust is one text, in the example and in the skeleton")
    func header() throws {
      try skip(if: MultiFDProcess.unavailable, "multifd plugins new")
      let folder = try TemporaryFolder()
      let made = try MultiFDProcess.run(
        ["plugins", "new", "x", "--language", "rust", "--dir", folder("x")])
      #expect(made.code == 0, "\(made)")
      let skeleton = try String(contentsOfFile: folder("x/abi/ffi.rs"), encoding: .utf8)
      let example = try String(
        contentsOfFile: "\(ExamplesTests.root)/Examples/rle-rust/src/ffi.rs", encoding: .utf8)
      #expect(skeleton == example)
    }
  }
}
