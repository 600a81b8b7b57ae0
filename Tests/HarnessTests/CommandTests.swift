import CHarness
import Foundation
import Harness
import Testing
import TestSupport

/// The command, as its users meet it.
@Suite(.serialized, .needsCompiler) struct CommandTests: RunsCommand {
  @Test("--list names every test, in both forms")
  func list() throws {
    let plain = try run(["--list"])
    #expect(plain.code == 0)
    let names = plain.output.split(separator: "\n").map { String($0.prefix { $0 != " " }) }
    #expect(names == Catalogue.all.map(\.id))
    let json = try run(["--list", "--format", "json", "--only", "fuzz"])
    let all = try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [[String: String]]
    #expect(all?.compactMap { $0["id"] } == ["fuzz/decode", "fuzz/encode"])
    #expect(all?.allSatisfy { $0["group"] == "fuzz" && $0["summary"]?.isEmpty == false } == true)
  }

  @Test("exit codes: 0, 1, 2, 64")
  func exitCodes() throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    let bad = try Compiler.compile("two-symbols", in: folder.path)
    #expect(try run([good, "--only", "load", "--quick"]).code == 0)
    let failed = try run([bad, "--only", "load/one-symbol"])
    #expect(failed.code == 1)
    #expect(failed.output.contains("--only load/one-symbol --seed 1"), "a line to reproduce it")
    let nothing = folder("libmultifd-nothing.so")
    try Data("this is no library".utf8).write(to: URL(filePath: nothing))
    #expect(try run([nothing]).code == 2)
    #expect(try run([folder("no-such-file.so")]).code == 2)
    for wrong in [
      [], [good, "--only", "("], [good, "--format", "prose"], [good, "--jobs", "0"],
      [good, "--no-such-option"], [good, "--seed", "x"], [good, "--option", "level"],
      [good, "--only", "load", "--skip", "load"], [good, "--record"], [good, "--replay", good],
    ] {
      let result = try run(wrong)
      #expect(result.code == 64 && !result.errors.isEmpty, "\(wrong)")
    }
  }

  @Test("exit code 70: the harness's own fault is no result")
  func fault() throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    // Too few descriptors for the pipes to a child process.
    let result = try start(
      "/bin/sh", ["-c", "ulimit -n 12; exec \"$@\"", "sh", Run.executable, good, "--quick"])
    #expect(result.code == 70, "\(result)")
    #expect(result.errors.contains("no child process"), "\(result.errors)")
    // And one that cannot even be started.
    var settings = Run.settings(good)
    settings.executable = folder("no-such-harness")
    #expect(throws: HarnessFault.self) { try Run.run(settings) }
  }

  @Test("a case that fuzzing finds is written down and fails again")
  func replay() throws {
    let folder = try TemporaryFolder()
    for (name, test) in [("rare-payload", "fuzz/decode"), ("rare-shape", "fuzz/encode")] {
      let bad = try Compiler.compile(name, in: folder.path)
      let found = try run(
        [bad, "--only", test, "--fuzz-time", "60", "--artifacts", folder.path])
      #expect(found.code == 1)
      let file = "\(name)-\(test.split(separator: "/")[1])-1.case"
      #expect(found.output.contains("--replay \(folder(file))"))
      let again = try run([bad, "--replay", folder(file), "--artifacts", folder.path])
      #expect(again.code == 1 && again.output.contains("FAIL \(test)"))
      let good = try Compiler.compile("good", in: folder.path)
      #expect(try run([good, "--replay", folder(file)]).code == 0)
    }
  }

  /// By so much a test's time limit is put off: a machine that is busy with other things makes no
  /// backend hang.
  @Test("what a process waits for a processor is counted")
  func waited() throws {
    let loops = try (0..<2).map { _ in
      try ChildProcess(["/usr/bin/taskset", "-c", "0", "/bin/sh", "-c", "while :; do :; done"])
    }
    defer { for loop in loops { loop.kill() } }
    let deadline = ContinuousClock.now + .seconds(30)
    // One of two loops that share a processor waits, all the time.
    while charness_waited(loops[0].pid) < 20_000_000 {
      try #require(ContinuousClock.now < deadline)
      Thread.sleep(forTimeInterval: 0.01)
    }
    let sleeper = try ChildProcess(["/bin/sleep", "20"])
    defer { sleeper.kill() }
    Thread.sleep(forTimeInterval: 0.3)
    #expect(charness_waited(sleeper.pid) < 250_000_000, "sleep is not waiting for a processor")
  }

  @Test("one seed gives one run")
  func seeds() throws {
    let folder = try TemporaryFolder()
    let bad = try Compiler.compile("beyond-bound", in: folder.path)
    func findings(_ seed: String) throws -> String {
      let json = try run(
        [bad, "--only", "bounds/payload-bound", "--quick", "--seed", seed, "--format", "json"])
      // Times differ from run to run.
      return json.output.split(separator: "\n").filter { !$0.contains("\"seconds\"") }
        .joined(separator: "\n")
    }
    let first = try findings("7")
    #expect(first.contains("payload_bound"))
    #expect(try findings("7") == first)
  }

  @Test("everything runs in one process for a debugger")
  func inProcess() throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    let result = try run([
      good, "--in-process", "--quick", "--only", "roundtrip", "--only", "bounds",
    ])
    #expect(result.code == 0, "\(result.output)")
    let bad = try Compiler.compile("wrong-sum", in: folder.path)
    let failed = try run([bad, "--in-process", "--quick", "--only", "bounds/iov-sum"])
    #expect(failed.code == 1 && failed.output.contains("next_packet_size"))
  }

  @Test("payloads are recorded and decode again")
  func golden() throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    let tests = ["--only", "golden/payloads", "--golden", folder.path]
    #expect(try run([good, "--record"] + tests).code == 0)
    let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
      .filter { $0.hasSuffix(".golden") }
    #expect(files.count == 3, "the defaults, and both ends of one option: \(files)")
    #expect(try run([good] + tests).output.contains("1 passed"))
    // A backend that says that it speaks the format, and does not.
    let bad = try Compiler.compile("good-stateful", in: folder.path)
    let failed = try run([bad] + tests)
    #expect(failed.code == 1 && failed.output.contains("FAIL golden/payloads"))
  }

  @Test("what a sanitizer reports is a failure")
  func sanitizer() throws {
    let asked = try start(Compiler.path ?? "cc", ["-print-file-name=libasan.so"])
    let runtime = asked.output.trimmingCharacters(in: .whitespacesAndNewlines)
    guard runtime.hasPrefix("/") else {
      SkipReason("the C compiler has no libasan.so").announce("a backend under AddressSanitizer")
      return
    }
    let folder = try TemporaryFolder()
    for (name, spoil, code) in [
      ("clean", "", Int32(0)), ("over", "((volatile uint8_t *)s->page)[p->page_size] = 0", 1),
    ] {
      let library = try Compiler.compile(
        "good-malloc", as: name, in: folder.path,
        flags: ["-g", "-fsanitize=address", "-DON_SETUP=\(spoil)"])
      let run = try start(
        "/usr/bin/env",
        ["LD_PRELOAD=\(runtime)", Run.executable, library, "--quick", "--only", "roundtrip/basic"])
      #expect(run.code == code, "\(run)")
      #expect(run.output.contains("heap-buffer-overflow") == (code == 1), "\(run.output)")
    }
  }

  @Test("fuzzing follows the coverage of a backend that counts it")
  func coverageGuided() throws {
    guard let clang = Compiler.clang else {
      SkipReason("no clang on PATH").announce("coverage-guided fuzzing")
      return
    }
    let folder = try TemporaryFolder()
    let bad = try Compiler.compile(
      "good", as: "counted", in: folder.path, compiler: clang,
      flags: ["-fsanitize-coverage=inline-8bit-counters"])
    let json = try run(
      [bad, "--only", "fuzz/decode", "--only", "load", "--fuzz-time", "2", "--format", "json"])
    #expect(json.code == 0, "\(json.output) \(json.errors)")
    #expect(json.output.contains("fuzz.decode.new-coverage"))
  }
}
