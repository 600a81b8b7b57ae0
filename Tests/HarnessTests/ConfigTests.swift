import Foundation
import Harness
import Testing
import TestSupport

/// `harness.toml`, as its author meets it.
@Suite(.serialized, .needsCompiler) struct ConfigTests: RunsCommand {
  private func write(_ text: String, _ path: String) throws {
    try Data(text.utf8).write(to: URL(filePath: path))
  }

  @Test("tests are off with a reason, which every report says")
  func off() throws {
    let folder = try TemporaryFolder()
    let bad = try Compiler.compile("two-symbols", in: folder.path)
    let tests = ["--only", "load", "--only", "golden", "--strict"]
    #expect(try run([bad] + tests).code == 1)
    try write(
      """
      [off]
      "load/one-symbol" = "the linker's, soon gone"
      golden = "nothing has been released"
      """, folder("harness.toml"))
    let human = try run([bad] + tests)
    #expect(human.code == 0, "\(human.output)")
    let passed = Catalogue.all.count { $0.group == .load } - 1
    #expect(
      human.output.contains("\(passed) passed, 0 failed, 0 skipped, 4 off"), "\(human.output)")
    #expect(human.output.contains("  off  load/one-symbol              the linker's, soon gone"))
    let tap = try run([bad, "--format", "tap"] + tests).output
    #expect(tap.contains("load/one-symbol # SKIP off: the linker's, soon gone"))
    let junit = try run([bad, "--format", "junit"] + tests).output
    #expect(junit.contains("<skipped message=\"off: nothing has been released\"/>"))
    let json = try run([bad, "--format", "json"] + tests).output
    #expect(json.contains("\"outcome\": \"off\"") && json.contains("\"off\": 4"))
    // Without it, and by another name.
    #expect(try run([bad, "--no-config"] + tests).code == 1)
    try FileManager.default.moveItem(atPath: folder("harness.toml"), toPath: folder("other.toml"))
    #expect(try run([bad] + tests).code == 1)
    #expect(try run([bad, "--config", folder("other.toml")] + tests).code == 0)
  }

  @Test("a rule that is off and broken in another test stays off, and says so")
  func seenElsewhere() throws {
    let folder = try TemporaryFolder()
    let bad = try Compiler.compile("wrong-sum", in: folder.path)
    try write("[off]\n\"bounds/iov-sum\" = \"known\"", folder("harness.toml"))
    let run = try run([bad, "--only", "roundtrip/basic", "--only", "bounds/iov-sum"])
    #expect(run.output.contains("known; is broken, seen in roundtrip/basic"), "\(run.output)")
    #expect(!run.output.contains("FAIL bounds/iov-sum"))
  }

  @Test("level, seeds, strictness and options; the command line counts more")
  func settings() throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    try write(
      "level = 2\nstrict = true\nseeds = 2\n[options]\nlevel = 7\n", folder("harness.toml"))
    func report(_ arguments: [String]) throws -> [String: Any] {
      let run = try run([good, "--format", "json"] + arguments)
      return try #require(
        try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any])
    }
    let plain = try report([])
    #expect(plain["level"] as? Int == 2 && plain["strict"] as? Bool == true)
    #expect(plain["options"] as? [String: String] == ["level": "7"])
    #expect(plain["seeds"] as? [String] == ["1", "2"])
    let told = try report(["--level", "1", "--seeds", "1", "--option", "level=3"])
    #expect(told["level"] as? Int == 1 && told["seeds"] as? [String] == ["1"])
    #expect(told["options"] as? [String: String] == ["level": "3"])
  }

  @Test(
    "what is not understood is wrong usage, with its line",
    arguments: [
      ("\n[off]\n\"load/open\" = \"x\"", "line 3: there is no test or group 'load/open'"),
      ("[off]\nload = \" \"", "line 2: 'load' is off without a reason"),
      ("[off]\nload = true", "line 2: 'load' is off for a reason"),
      ("[of]\nload = \"x\"", "line 1: there is no table [of]"),
      ("lvl = 1", "line 1: there is no 'lvl'"), ("level = 11", "line 1: level is 1 to 10"),
      ("level = \"8\"", "line 1: level is an integer"),
      ("seeds = 0", "line 1: seeds is a positive"),
      ("strict = 1", "line 1: strict is true or false"),
      ("level 8", "line 1: after 'level' comes ="),
      ("[options]\nlevle = 1", "there is no such option"),
      ("[options]\nlevel = [7]", "line 2: 'level' is a string in quotes, an integer"),
      ("[options]\nlevel = 1.5", "line 2: 'level' is a string in quotes, an integer"),
    ])
  func wrong(text: String, words: String) throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    try write(text, folder("harness.toml"))
    let run = try run([good, "--only", "load/opens"])
    #expect(run.code == 64 && run.errors.contains(words), "\(run)")
    #expect(try self.run([good, "--config", folder("none.toml")]).code == 64)
  }
}
