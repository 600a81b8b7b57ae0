import Foundation
import Harness
import Testing
import TestSupport

/// What the command writes, as those for whom it is meant read it.
@Suite(.serialized, .needsCompiler) struct ReportTests: RunsCommand {
  private static let load = Catalogue.all.count { $0.group == .load }

  @Test("every format is what it says it is")
  func formats() throws {
    let folder = try TemporaryFolder()
    let bad = try Compiler.compile("two-symbols", in: folder.path)
    let tests = ["--only", "load", "--only", "roundtrip/reference"]
    // One of `load` fails, and the last does not apply.
    let load = Self.load, all = load + 1

    let tap = try run([bad, "--format", "tap"] + tests).output.split(separator: "\n")
    #expect(tap[0] == "TAP version 13" && tap[1] == "1..\(all)")
    let points = tap.filter { $0.hasPrefix("ok ") || $0.hasPrefix("not ok ") }
    #expect(points.count == all && points.count { $0.hasPrefix("not") } == 1)
    #expect(points.contains { $0.hasPrefix("ok \(all) - roundtrip/reference # SKIP ") })

    let junit = try run([bad, "--format", "junit"] + tests).output
    let counter = ElementCounter()
    #expect(counter.parse(junit), "well-formed")
    #expect(counter.counts["testcase"] == all && counter.counts["failure"] == 1)
    #expect(counter.counts["skipped"] == 1 && counter.counts["testsuite"] == 2)

    let json = try run([bad, "--format", "json"] + tests).output
    let report = try #require(
      try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
    #expect(report["failed"] as? Int == 1 && report["skipped"] as? Int == 1)
    let backend = report["backend"] as? [String: String]
    #expect(backend?["name"] == "two-symbols" && backend?["wire_format"] == "sample/1")
    #expect((report["results"] as? [Any])?.count == all)

    let human = try run([bad, "--format", "human"] + tests).output
    #expect(human.contains("\(load - 1) passed, 1 failed, 1 skipped") && !human.contains("\u{1b}"))
  }

  @Test("a TAP consumer that is none of ours reads it")
  func prove() throws {
    guard let prove = Compiler.find(["prove"]) else {
      SkipReason("no prove (perl) on PATH").announce("TAP as others read it")
      return
    }
    let folder = try TemporaryFolder()
    // Its verdict is the harness's own, in a good run and in a bad one.
    for (name, verdict) in [("good", "Result: PASS"), ("two-symbols", "Result: FAIL")] {
      let library = try Compiler.compile(name, in: folder.path)
      let tap = try run([
        library, "--format", "tap", "--quick", "--only", "load", "--only", "golden",
      ])
      try Data(tap.output.utf8).write(to: URL(filePath: folder(name + ".tap")))
      let read = try start(prove, ["--exec", "cat", folder(name + ".tap")])
      #expect(read.output.contains(verdict), "\(read)")
      #expect(!read.output.contains("Parse errors"), "\(read)")
      #expect(read.output.contains("Tests=\(Self.load + 3)"), "\(read)")
    }
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
    let backends = Lab.igzipUnavailable == nil ? 6 : 5
    #expect(counter.counts["rect"] == backends * 4 + backends + 1)
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
    // A gate that compares nothing is no gate: without what is measured, or without anything to
    // compare it with.
    let earlier = folder("baseline.json"), empty = folder("empty.json")
    try Data("{\"results\": []}".utf8).write(to: URL(filePath: empty))
    for (file, tests) in [
      (earlier, ["--only", "perf/baseline"]), (earlier, ["--skip", "perf"]), (empty, []),
      (good, []), (folder("no-such-file"), []),
    ] {
      let run = try run([good, "--quick", "--baseline", file] + tests)
      #expect(run.code == 64 && !run.errors.isEmpty, "\(file) \(tests): \(run.output)")
    }
  }
}
