import Foundation
import Testing
import TestSupport

/// The table over the values of each option, and pages that no pass has seen before.
@Suite(.serialized, .needsCompiler) struct PerfOptionsTests: RunsCommand {
  /// One option of each type, and what setup and packets make of some values of the first two.
  private static let table = """
    #include <multifd_plugin.h>
    static const char *const modes[] = {"one", "two", 0};
    static const MultiFDOption all[] = {
      {"level", "how hard it tries", "30", 0, 1, 65537, MULTIFD_OPTION_INT, 0},
      {"mode", "which way", "one", modes, 0, 0, MULTIFD_OPTION_ENUM, 0},
      {"check", "twice", "yes", 0, 0, 0, MULTIFD_OPTION_BOOL, 0},
      {"window", "how far", "2K", 0, 1024, 2050, MULTIFD_OPTION_SIZE, 0},
      {"cold", "how it is kept", "-1", 0, -3, 4, MULTIFD_OPTION_INT, 0},
      {"edge", "as far as it goes", "0", 0, INT64_MIN, INT64_MAX, MULTIFD_OPTION_INT, 0},
      {"label", "what it is called", "", 0, 0, 9, MULTIFD_OPTION_STRING, 0},
    };
    #define OPTIONS all, sizeof all / sizeof *all, sizeof *all
    #define ON_SETUP                                                                  \\
      if (p->options[0].number == 65537 && p->options[1].number == 1) {               \\
        p->services->error(p->channel, "not both");                                   \\
        return MULTIFD_ERROR_OPTION;                                                  \\
      }                                                                               \\
      s->extra = (void *)(p->options[0].number == 24 && p->options[2].number == 0)
    #define ON_PREPARE                                                                \\
      if (s->extra) {                                                                 \\
        p->services->error(p->channel, "level 24 without check");                     \\
        return MULTIFD_ERROR_INTERNAL;                                                \\
      }
    """

  private func library(in folder: String) throws -> String {
    let header = folder + "/options.h"
    try Data(Self.table.utf8).write(to: URL(filePath: header))
    return try Compiler.compile(
      "good", as: "many", in: folder, flags: ["-D_GNU_SOURCE", "-include", header])
  }

  private func figures(_ json: String) throws -> [String: Double] {
    let report = try #require(
      try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
    let results = try #require(report["results"] as? [[String: Any]])
    let metrics = try #require(results.first?["metrics"] as? [String: [String: Any]])
    return metrics.compactMapValues { $0["value"] as? Double }
  }

  @Test("ends, choices, the default and some values between have a row and figures")
  func rows() throws {
    let folder = try TemporaryFolder()
    let library = try library(in: folder.path)
    let figures = try figures(
      try run([library, "--only", "perf/options", "--format", "json"]).output)
    let wanted = [
      "level": ["1", "5", "24", "30", "116", "565", "2756", "13441", "65537"],
      "mode": ["one", "two"], "check": ["off", "on"],
      "window": ["1024", "1131", "1249", "1379", "1523", "1681", "1856", "2048", "2050"],
      "cold": ["-3", "-2", "-1", "0", "1", "2", "3", "4"],
    ]
    for (name, values) in wanted {
      for value in values {
        for figure in ["encode", "decode", "ratio"] {
          #expect(figures["options.\(name).\(value).\(figure)"] ?? 0 > 0, "\(name)=\(value)")
        }
        #expect(figures["cpu.options.\(name).\(value).encode"] ?? 0 > 0, "\(name)=\(value)")
        #expect(figures["cpu.options.\(name).\(value).decode"] ?? 0 > 0, "\(name)=\(value)")
      }
      let there = Set(
        figures.keys.filter { $0.hasPrefix("options.\(name).") }
          .map { $0.split(separator: ".")[2] })
      #expect(there.map { String($0) }.sorted() == values.sorted(), "\(name)")
    }
    // As wide as can be, and no overflow: both ends, 0, six between.
    let edge = Set(figures.keys.filter { $0.hasPrefix("options.edge.") })
    #expect(edge.count == 9 * 3, "\(edge.sorted())")
    #expect(edge.contains("options.edge.\(Int64.min).ratio"))
    #expect(edge.contains("options.edge.\(Int64.max).ratio"))
    #expect(!figures.keys.contains { $0.contains("label") }, "texts are not tried out")
  }

  @Test("values that are refused beside this run's have a row; one that fails is a failure")
  func refused() throws {
    let folder = try TemporaryFolder()
    let library = try library(in: folder.path)
    let only = [library, "--only", "perf/options"]
    let two = try run(only + ["--option", "mode=two"])
    let lines = two.output.split(separator: "\n")
    #expect(two.code == 0, "\(two.output)")
    #expect(lines.contains { $0.wholeMatch(of: /65537 +refused */) != nil }, "\(two.output)")
    for row in ["30 (default)", "one (default)", "on (default)", "2048 (default)"] {
      #expect(lines.contains { $0.hasPrefix(row) }, "\(row): \(two.output)")
    }
    #expect(two.output.contains("level         encode MB/s  cpu s/GB  decode MB/s  cpu s/GB"))
    let unchecked = try run(only + ["--option", "check=no"])
    #expect(unchecked.code == 1, "\(unchecked.output)")
    #expect(unchecked.output.contains("a callback fails with check=no,level=24"))
  }

  @Test("a quick run leaves it out, and a backend without options has no table")
  func skipped() throws {
    let folder = try TemporaryFolder()
    let library = try library(in: folder.path)
    let quick = try run([library, "--quick", "--only", "perf/options"]).output
    #expect(quick.contains("skip perf/options") && quick.contains("only a full run"), "\(quick)")
    let none = try Compiler.compile(
      "good", as: "plain", in: folder.path, flags: ["-DOPTIONS=(void *)0, 0, 0"])
    #expect(try run([none, "--only", "perf/options"]).output.contains("no options with values"))
  }

  @Test("an earlier run is a gate for every value that both have measured")
  func baseline() throws {
    let folder = try TemporaryFolder()
    let library = try Compiler.compile("good", in: folder.path)
    let tests = ["throughput", "options"].flatMap { ["--only", "perf/\($0)"] }
    let first = try run([library, "--format", "json"] + tests).output
    for (slower, code) in [("options.level.9.ratio", Int32(1)), ("options.level.4.ratio", 0)] {
      var report = try #require(
        try JSONSerialization.jsonObject(with: Data(first.utf8)) as? [String: Any])
      let results = report["results"] as? [[String: Any]] ?? []
      // Nothing but the one figure can be worse; the other is of a value that this run has not.
      report["results"] = results.map { result in
        let isThroughput = result["id"] as? String == "perf/throughput"
        let old = result["metrics"] as? [String: [String: Any]] ?? [:]
        let factor = 0.001
        var metrics = old.mapValues { metric in
          metric.merging(["value": (metric["value"] as? Double ?? 0) * factor]) { $1 }
        }
        if !isThroughput { metrics[slower] = ["value": 1e6, "unit": ""] }
        return result.merging(["metrics": metrics]) { $1 }
      }
      let file = folder("baseline.json")
      try JSONSerialization.data(withJSONObject: report).write(to: URL(filePath: file))
      let run = try run([library, "--only", "perf/baseline", "--baseline", file] + tests)
      #expect(run.code == code, "\(run.output)")
      #expect(run.output.contains("\(slower) is ") == (code == 1), "\(run.output)")
    }
  }

  @Test("where packets refer to earlier ones no pass has the pages of another")
  func renewed() throws {
    let folder = try TemporaryFolder()
    // Refuses a packet whose first page has been here before.
    let again =
      "static uint64_t seen[1 << 16]; static uint32_t count; uint64_t hash = 0; "
      + "for (uint32_t b = 0; b < p->page_size; b++) "
      + "hash = (hash ^ p->host[p->normal[0] + b]) * 0x100000001b3; "
      + "for (uint32_t i = 0; i < count; i++) if (seen[i] == hash) "
      + "{ p->services->error(p->channel, \"again\"); return MULTIFD_ERROR_INTERNAL; } "
      + "seen[count++ & 65535] = hash"
    let tests = ["--quick", "--only", "perf/throughput", "--only", "perf/latency"]
    for (name, code) in [("good-stateful", Int32(0)), ("good", 1)] {
      let library = try Compiler.compile(
        name, as: name + "-new", in: folder.path, flags: ["-DON_PREPARE=\(again)"])
      let run = try run([library] + tests)
      #expect(run.code == code, "\(name): \(run.output)")
    }
  }
}
