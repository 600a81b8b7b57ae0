import Foundation
import Harness
import Testing
import TestSupport

/// How much is run, how often, and what counts as not run.
@Suite(.serialized, .needsCompiler) struct LevelTests: RunsCommand {
  @Test("levels grow: groups first, then length")
  func levels() throws {
    #expect(Level(0) == nil && Level(11) == nil)
    let all = try (1...10).map { try #require(Level($0)) }
    for (lower, higher) in zip(all, all.dropFirst()) {
      #expect(lower.groups.isSubset(of: higher.groups), "\(higher.number)")
      #expect(lower.fuzzSeconds <= higher.fuzzSeconds && lower.seeds <= higher.seeds)
      #expect(lower != higher && (lower.isQuick || !higher.isQuick), "\(higher.number)")
    }
    #expect(all[4] == .quick && all[6] == .full)
    #expect(Set(TestGroup.allCases) == Level.quick.groups)
    let hours = all[9].fuzzSeconds * Double(all[9].seeds) / 3600
    #expect(hours > 2, "the highest is for a night")
  }

  @Test("a level is a part of the tests")
  func parts() throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    let first = try run([good, "--level", "1"])
    #expect(first.code == 0 && first.output.contains("level 1\n"), "\(first)")
    let load = Catalogue.all.count { $0.group == .load }
    #expect(first.output.contains("\(load) passed, 0 failed, 0 skipped"), "\(first.output)")
    let second = try run([good, "--level", "2"])
    #expect(second.output.contains("abi/bound") && !second.output.contains("options/"))
    for wrong in [
      ["--level", "0"], ["--level", "11"], ["--level", "5", "--quick"], ["--seeds", "0"],
    ] {
      #expect(try run([good] + wrong).code == 64, "\(wrong)")
    }
  }

  @Test("a skip that could have run fails a strict run, and no other does")
  func strict() throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    let tests = ["--only", "golden", "--only", "roundtrip/reference", "--only", "abi/qemu-bound"]
    let lax = try run([good] + tests)
    #expect(lax.code == 0)
    #expect(lax.output.contains("5 skipped (2 of them could have run: --strict)"), "\(lax.output)")
    let strict = try run([good, "--strict"] + tests)
    #expect(strict.code == 1)
    #expect(strict.output.contains("0 passed, 2 failed, 3 skipped"), "\(strict.output)")
    #expect(strict.output.contains("was not run: no --golden"))
    #expect(strict.output.contains("skip roundtrip/reference"), "what does not apply is no failure")
    let json = try run([good, "--format", "json"] + tests).output
    #expect(json.split(separator: "\n").count { $0.contains("\"could_have_run\": true") } == 2)
  }

  @Test("the first seed that fails is told, with the command that shows it again")
  func seeds() throws {
    let folder = try TemporaryFolder()
    // Some contents in some packets: what a single seed passes over.
    let unlucky =
      "for (uint32_t i = 0; i < p->normal_num; i++) { "
      + "const uint8_t *page = p->host + p->normal[i] + 2048; "
      + "if (((page[0] ^ page[1]) & 127) == 43) "
      + "{ p->services->error(p->channel, \"unlucky\"); return MULTIFD_ERROR_INTERNAL; } }"
    let bad = try Compiler.compile(
      "good", as: "unlucky", in: folder.path, flags: ["-DON_PREPARE=\(unlucky)"])
    let tests = ["--only", "roundtrip/basic", "--only", "load/opens", "--only", "perf/latency"]
    let found = try run([bad, "--quick", "--seed", "10", "--seeds", "60"] + tests)
    #expect(found.code == 1, "\(found.output)")
    let match = try #require(
      found.output.firstMatch(of: /seed (\d+) is the first that fails, number (\d+)/))
    let seed = try #require(Int(match.1)), number = try #require(Int(match.2))
    #expect(seed == 10 + number - 1 && number > 1, "\(match.0)")
    #expect(found.output.contains("--only roundtrip/basic --seed \(seed) --quick"))
    #expect(try run([bad, "--quick", "--seed", "\(seed)"] + tests).code == 1)
    let before = try run(
      [bad, "--quick", "--seed", "10", "--seeds", "\(number - 1)", "--format", "json"] + tests)
    #expect(before.code == 0, "\(before.output)")
    let report = try JSONSerialization.jsonObject(with: Data(before.output.utf8))
    #expect((report as? [String: Any])?["seeds"] as? [String] == (10..<seed).map { "\($0)" })
  }
}
