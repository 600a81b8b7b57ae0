import Foundation
import Harness
import Testing
import TestSupport

/// Several processes that fuzz, and a corpus that outlives them.
@Suite(.serialized, .needsCompiler) struct FuzzingTests: RunsCommand {
  private func report(_ arguments: [String]) throws -> [String: [String: Double]] {
    let run = try run(arguments + ["--format", "json"])
    #expect(run.code == 0, "\(run)")
    let report = try #require(
      try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any])
    let results = try #require(report["results"] as? [[String: Any]])
    return results.reduce(into: [:]) { all, result in
      let metrics = result["metrics"] as? [String: [String: Any]] ?? [:]
      all[result["id"] as? String ?? ""] = metrics.compactMapValues { $0["value"] as? Double }
    }
  }

  @Test("each process fuzzes by itself, and they are one test in the end")
  func jobs() throws {
    let folder = try TemporaryFolder()
    let artifacts = ["--artifacts", folder.path]
    let good = try Compiler.compile("good", in: folder.path)
    let tests = ["--only", "fuzz", "--only", "load/opens", "--fuzz-time", "0.3"]
    let three = try report([good, "--fuzz-jobs", "3", "--trace", folder("trace")] + tests)
    #expect(three.keys.sorted() == ["fuzz/decode", "fuzz/encode", "load/opens"])
    #expect(three["fuzz/decode"]?["fuzz.decode.cases"] ?? 0 > 3)
    let trace = try String(contentsOfFile: folder("trace"), encoding: .utf8)
    let processes = trace.split(separator: "\n").filter { $0.contains("\"ph\":\"M\"") }
    #expect(processes.count { $0.contains("fuzz/decode") } == 3)

    // What any of them finds is found, and its case fails again.
    let bad = try Compiler.compile("rare-payload", in: folder.path)
    let found = try run(
      [bad, "--only", "fuzz/decode", "--fuzz-time", "60", "--fuzz-jobs", "2"] + artifacts)
    #expect(found.code == 1, "\(found.output)")
    let cases = try FileManager.default.contentsOfDirectory(atPath: folder.path)
      .filter { $0.hasSuffix(".case") }
    #expect(
      !cases.isEmpty
        && Set(cases).isSubset(of: [
          "rare-payload-decode-1.case", "rare-payload-decode-1-1.case",
        ]), "\(cases)")
    for file in cases {
      #expect(try run([bad, "--replay", folder(file)] + artifacts).code == 1)
    }
    #expect(try run([good, "--fuzz-jobs", "0"]).code == 64)
  }

  @Test("what was new is kept, and tried first in the next run")
  func corpus() throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    let corpus = folder("corpus")
    let tests = ["--only", "fuzz/decode", "--corpus-dir", corpus, "--artifacts", folder.path]
    let first = try report([good, "--fuzz-time", "1"] + tests)
    let kept = try FileManager.default.contentsOfDirectory(atPath: corpus)
    #expect(kept.count > 2 && kept.allSatisfy { $0.hasSuffix(".case") })
    let fresh = try #require(first["fuzz/decode"]?["fuzz.decode.new-refusals"])
    #expect(fresh >= Double(kept.count))
    // The same seed makes the same cases: nothing about them is new any more.
    let second = try report([good, "--fuzz-time", "0.2"] + tests)
    #expect(second["fuzz/decode"]?["fuzz.decode.new-refusals"] ?? fresh < fresh / 2)

    // A fault that a kept case meets is found before anything is spoilt at random.
    let bad = try Compiler.compile(
      "good", as: "again", in: folder.path, flags: ["-DON_CORRUPT=__builtin_trap()"])
    let hasty = [bad, "--only", "fuzz/decode", "--fuzz-time", "0.0000000001"]
    #expect(try run(hasty + ["--artifacts", folder.path]).code == 0, "no time for anything")
    #expect(try run(hasty + tests.dropFirst(2)).code == 1)
  }
}
