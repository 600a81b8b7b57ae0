import Foundation
import Testing
import TestSupport

/// What an author does between two runs of everything.
@Suite(.serialized, .needsCompiler) struct AuthorTests: RunsCommand {
  @Test("what has failed is run again, until it passes")
  func onlyFailed() throws {
    let folder = try TemporaryFolder()
    let artifacts = ["--artifacts", folder.path]
    let bad = try Compiler.compile("two-symbols", as: "mended", in: folder.path)
    let again = [bad, "--quick", "--only-failed"] + artifacts
    #expect(try run(again).code == 64, "there is nothing to run yet")
    #expect(try run([bad, "--only", "load"] + artifacts).code == 1)
    // Another run that passes says nothing of that test.
    #expect(try run([bad, "--only", "abi"] + artifacts).code == 0)
    let failed = try run(again)
    #expect(failed.code == 1 && failed.output.contains("0 passed, 1 failed"), "\(failed.output)")
    #expect(try run(again + ["--only", "load"]).code == 64)
    _ = try Compiler.compile("good", as: "mended", in: folder.path)
    #expect(try run(again).output.contains("1 passed, 0 failed"))
    #expect(try run(again).code == 64)
    let left = try FileManager.default.contentsOfDirectory(atPath: folder.path)
    #expect(left == ["libmultifd-mended.so"], "nothing is left behind: \(left)")
  }

  @Test("a test in which a breach is seen is run again with the one that it belongs to")
  func seenIn() throws {
    let folder = try TemporaryFolder()
    let bad = try Compiler.compile("wrong-sum", in: folder.path)
    let artifacts = ["--artifacts", folder.path, "--quick"]
    #expect(try run([bad, "--only", "roundtrip/basic"] + artifacts).code == 1)
    let again = try run([bad, "--only-failed"] + artifacts)
    #expect(again.code == 1 && again.output.contains("FAIL bounds/iov-sum"), "\(again.output)")
  }

  @Test("one payload is decoded: status, reason, and which pages were written")
  func decode() throws {
    let folder = try TemporaryFolder()
    let library = try Compiler.compile("good", in: folder.path)
    #expect(
      try run([library, "--only", "golden", "--golden", folder("golden"), "--record"]).code == 0)
    let recording = folder("golden/good-1.0.0.golden")
    let good = try run([library, "--decode", recording])
    #expect(good.code == 0, "\(good)")
    let lines = good.output.split(separator: "\n")
    #expect(lines.count == 3 && lines[0].hasPrefix("packet 1, "), "\(good.output)")
    #expect(lines.allSatisfy { $0.contains(" pages: OK; written: ") }, "\(good.output)")
    #expect(lines[2].hasSuffix("for 3 pages: OK; written: all pages"))

    // What is no payload of the sample's format.
    let payload = folder("payload")
    try Data("nonsense".utf8).write(to: URL(filePath: payload))
    let bad = try run([library, "--decode", payload, "--pages", "4"])
    #expect(bad.code == 1, "\(bad)")
    #expect(bad.output.contains("packet 1, 8 bytes for 4 pages: CORRUPT ("), "\(bad.output)")
    #expect(bad.output.contains("written: "))

    // What it breaks on the way is told, and a crash.
    let traps = try Compiler.compile(
      "good", as: "traps", in: folder.path, flags: ["-DON_PAYLOAD=__builtin_trap()"])
    let crash = try run([traps, "--decode", payload, "--pages", "4"])
    #expect(crash.code == 1 && crash.output.contains("breach: "), "\(crash)")
    for wrong in [["--decode", folder("none")], ["--decode", payload, "--pages", "0"]] {
      #expect(try run([library] + wrong).code == 64)
    }
  }

  @Test("every callback is in the trace, with its sizes, and one that never returned is open")
  func trace() throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    let file = folder("trace.json")
    let tests = ["--only", "roundtrip/basic", "--only", "isolation/concurrent", "--keep-going"]
    #expect(try run([good, "--quick", "--trace", file] + tests).code == 0)
    let events = try events(file)
    let begun = events.filter { $0["ph"] as? String == "B" }
    let ended = events.filter { $0["ph"] as? String == "E" }
    #expect(begun.count == ended.count && begun.count > 100)
    let names = Set(begun.compactMap { $0["name"] as? String })
    #expect(
      names == [
        "send_setup", "send_prepare", "send_cleanup", "recv_setup", "recv", "recv_cleanup",
      ])
    let sizes = ended.filter { $0["name"] as? String == "send_prepare" }
      .compactMap { $0["args"] as? [String: Any] }
    #expect(sizes.contains { ($0["pages"] as? Int ?? 0) > 1 && ($0["payload"] as? Int ?? 0) > 1 })
    #expect(sizes.allSatisfy { $0["status"] as? String == "OK" })
    let tracks = events.filter { $0["ph"] as? String == "M" }
      .compactMap { ($0["args"] as? [String: String])?["name"] }
    #expect(Set(tracks) == ["roundtrip/basic", "isolation/concurrent"])
    #expect(events.allSatisfy { $0["pid"] is Int })

    let traps = try Compiler.compile(
      "good", as: "traps", in: folder.path, flags: ["-DON_PAYLOAD=__builtin_trap()"])
    #expect(try run([traps, "--only", "roundtrip/basic", "--trace", file]).code == 1)
    let open = try self.events(file).reduce(into: [:] as [String: Int]) { open, event in
      let step = ["B": 1, "E": -1][event["ph"] as? String ?? ""] ?? 0
      open[event["name"] as? String ?? "", default: 0] += step
    }
    #expect(open["recv"] == 1 && open["send_prepare"] == 0)
    #expect(try run([good, "--trace", folder("no/such/folder")]).code == 64)
  }

  private func events(_ file: String) throws -> [[String: Any]] {
    let data = try Data(contentsOf: URL(filePath: file))
    return try #require(try JSONSerialization.jsonObject(with: data) as? [[String: Any]])
  }
}
