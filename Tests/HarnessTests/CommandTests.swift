import Foundation
import Harness
import Testing
import TestSupport

/// The command, as its users meet it.
@Suite(.serialized, .needsCompiler) struct CommandTests {
  private func run(
    _ arguments: [String], in folder: String? = nil
  ) throws -> (code: Int32, output: String, errors: String) {
    let process = Process()
    process.executableURL = URL(filePath: Run.executable)
    process.arguments = arguments
    if let folder { process.currentDirectoryURL = URL(filePath: folder) }
    let output = Pipe(), errors = Pipe()
    process.standardOutput = output
    process.standardError = errors
    try process.run()
    // What is written on stderr is a few lines at most: it fits into the pipe meanwhile.
    let text = output.fileHandleForReading.readDataToEndOfFile()
    let complaints = errors.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (
      process.terminationStatus, String(decoding: text, as: UTF8.self),
      String(decoding: complaints, as: UTF8.self)
    )
  }

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

  @Test("every format is what it says it is")
  func formats() throws {
    let folder = try TemporaryFolder()
    let bad = try Compiler.compile("two-symbols", in: folder.path)
    let tests = ["--only", "load", "--only", "roundtrip/reference"]

    let tap = try run([bad, "--format", "tap"] + tests).output.split(separator: "\n")
    #expect(tap[0] == "TAP version 14" && tap[1] == "1..10")
    let points = tap.filter { $0.hasPrefix("ok ") || $0.hasPrefix("not ok ") }
    #expect(points.count == 10 && points.count { $0.hasPrefix("not") } == 1)
    #expect(points.contains { $0.hasPrefix("ok 10 - roundtrip/reference # SKIP ") })

    let junit = try run([bad, "--format", "junit"] + tests).output
    let counter = ElementCounter()
    #expect(counter.parse(junit), "well-formed")
    #expect(counter.counts["testcase"] == 10 && counter.counts["failure"] == 1)
    #expect(counter.counts["skipped"] == 1 && counter.counts["testsuite"] == 2)

    let json = try run([bad, "--format", "json"] + tests).output
    let report = try #require(
      try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
    #expect(report["failed"] as? Int == 1 && report["skipped"] as? Int == 1)
    let backend = report["backend"] as? [String: String]
    #expect(backend?["name"] == "two-symbols" && backend?["wire_format"] == "sample/1")
    #expect((report["results"] as? [Any])?.count == 10)

    let human = try run([bad, "--format", "human"] + tests).output
    #expect(human.contains("8 passed, 1 failed, 1 skipped") && !human.contains("\u{1b}"))
  }

  /// Counts elements; knows just enough XML to see that tags and quotes match.
  private final class ElementCounter {
    var counts: [String: Int] = [:]

    func parse(_ text: String) -> Bool {
      var open: [String] = []
      var rest = text[...]
      while let start = rest.firstIndex(of: "<") {
        guard let end = rest[start...].firstIndex(of: ">") else { return false }
        let tag = rest[rest.index(after: start)..<end]
        rest = rest[rest.index(after: end)...]
        if tag.hasPrefix("?") { continue }
        guard tag.count(where: { $0 == "\"" }) % 2 == 0, !tag.contains("<") else { return false }
        let name = String(tag.drop { $0 == "/" }.prefix { $0.isLetter })
        if tag.hasPrefix("/") {
          guard open.popLast() == name else { return false }
        } else {
          counts[name, default: 0] += 1
          if !tag.hasSuffix("/") { open.append(name) }
        }
      }
      return open.isEmpty
    }
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

  @Test("one seed gives one run")
  func seeds() throws {
    let folder = try TemporaryFolder()
    let bad = try Compiler.compile("beyond-bound", in: folder.path)
    func findings(_ seed: String) throws -> String {
      let json = try run(
        [bad, "--only", "bounds/payload-bound", "--quick", "--seed", seed, "--format", "json"])
      let report = try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any]
      let results = report?["results"] as? [[String: Any]]
      return "\(results?.first?["findings"] ?? "none")"
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

  @Test("an earlier run is a gate for speed, and rates are drawn")
  func baseline() throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    let perf = ["--quick", "--only", "perf", "--plugin-dir", Lab.executableFolder]
    let svg = folder("links.svg")
    let first = try run([good, "--format", "json", "--svg", svg] + perf)
    #expect(first.code == 0)
    let counter = ElementCounter()
    let picture = try String(contentsOfFile: svg, encoding: .utf8)
    #expect(counter.parse(picture))
    // A bar for each backend (this one and the built-ins) on four links, a key, a background.
    #expect(counter.counts["rect"] == 5 * 4 + 5 + 1)
    // A thousandth of the speed is surely met; a thousandfold is surely not.
    for (factor, code) in [(0.001, Int32(0)), (1000, 1)] {
      var report = try #require(
        try JSONSerialization.jsonObject(with: Data(first.output.utf8)) as? [String: Any])
      let results = report["results"] as? [[String: Any]] ?? []
      report["results"] = results.map { result in
        var result = result
        let metrics = result["metrics"] as? [String: [String: Any]] ?? [:]
        result["metrics"] = metrics.mapValues { metric in
          metric.merging(["value": (metric["value"] as? Double ?? 0) * factor]) { $1 }
        }
        return result
      }
      let file = folder("baseline.json")
      try JSONSerialization.data(withJSONObject: report).write(to: URL(filePath: file))
      let run = try run(
        [
          good, "--quick", "--only", "perf/throughput", "--only", "perf/baseline", "--baseline",
          file,
        ])
      #expect(run.code == code, "\(run.output)")
      #expect(run.output.contains(code == 0 ? "ok   perf/baseline" : "FAIL perf/baseline"))
    }
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
