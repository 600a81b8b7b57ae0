import Foundation
import Roles
import TestSupport
import Testing

@Suite("Metrics")
struct MetricsTests {
  static let formats: [(Metrics.Format, String)] = [(.openMetrics, ""), (.prometheus, "_total")]

  /// The lines of the text that are samples, by name and labels.
  private func samples(_ text: String) -> [String: String] {
    Dictionary(
      uniqueKeysWithValues: text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map { line in
        let space = line.lastIndex(of: " ")!
        return (String(line[..<space]), String(line[line.index(after: space)...]))
      })
  }

  @Test("What a standby is doing")
  func standby() {
    let text = Metrics(.example, .openMetrics, now: 2000.5).text
    let samples = samples(text)
    #expect(samples["multifd_last_commit_age_seconds"] == "10.5")
    #expect(samples["multifd_status_age_seconds"] == "0.5")
    #expect(samples["multifd_checkpoint"] == "3" && samples["multifd_failover_ready"] == "1")
    #expect(samples["multifd_pages_total{channel=\"0\",kind=\"duplicate\"}"] == "3")
    let format = "{channel=\"0\",format=\"zstd/1\"}"
    #expect(samples["multifd_format_pages_total" + format] == "5")
    #expect(samples["multifd_format_payload_bytes_total" + format] == "800")
    #expect(samples["multifd_received_bytes_total{channel=\"main\"}"] == "1000")
    #expect(samples["multifd_phase{phase=\"committed\"}"] == "1")
    #expect(samples["multifd_ram_bytes"] == "67108864" && samples["multifd_remaining_bytes"] == "9")
    #expect(samples["multifd_strangers_total"] == "2")
    // Cumulative, and all of them in the last.
    #expect(samples["multifd_checkpoint_pause_seconds_bucket{le=\"0.001\"}"] == "0")
    #expect(samples["multifd_checkpoint_pause_seconds_bucket{le=\"0.002\"}"] == "1")
    #expect(samples["multifd_checkpoint_pause_seconds_bucket{le=\"0.005\"}"] == "3")
    #expect(samples["multifd_checkpoint_pause_seconds_bucket{le=\"1.0\"}"] == "4")
    #expect(samples["multifd_checkpoint_pause_seconds_bucket{le=\"+Inf\"}"] == "4")
    #expect(samples["multifd_checkpoint_pause_seconds_count"] == "4")
    // Others' names cannot end a label, or a line.
    #expect(text.contains(#"machine="pc \"q35\" \\ one""#))
    #expect(samples[#"multifd_net_held_packets{net="n\n0"}"#] == "1")
    #expect(text.hasSuffix("\n# EOF\n"))
  }

  @Test("Every sample belongs to what was announced before it, once", arguments: formats)
  func announced(format: Metrics.Format, end: String) throws {
    var types: [String: String] = [:]
    var current = ""
    for line in Metrics(.example, format).text.split(separator: "\n") where line != "# EOF" {
      let words = line.split(separator: " ", maxSplits: 3).map(String.init)
      if line.hasPrefix("# HELP ") {
        current = words[2]
        #expect(types[current] == nil && words.count == 4)
      } else if line.hasPrefix("# TYPE ") {
        #expect(words[2] == current)
        types[current] = words[3]
      } else {
        let name = String(line.prefix { $0 != "{" && $0 != " " })
        let type = try #require(types[current])
        let allowed =
          switch type {
          case "counter": [format == .openMetrics ? current + "_total" : current]
          case "histogram": ["_bucket", "_sum", "_count"].map { current + $0 }
          default: [current]
          }
        #expect(allowed.contains(name), "\(line)")
      }
    }
    #expect(types["multifd_pages" + end] == "counter" && types.count > 25)
  }

  @Test("A role that has nothing to say says that it is there")
  func quiet() {
    let relay = samples(Metrics(RoleStatus(.relay, phase: "listening"), .prometheus).text)
    #expect(relay["multifd_phase{phase=\"listening\"}"] == "1" && relay["multifd_error"] == "0")
    #expect(!relay.keys.contains { $0.contains("checkpoint") || $0.contains("failover") })
    #expect(Metrics(nil, .openMetrics).text == "# EOF\n" && Metrics(nil, .prometheus).text == "")
  }

  @Test("Prometheus' own promtool has nothing to say against it")
  func promtool() throws {
    let folder = try TemporaryFolder()
    guard FileManager.default.isExecutableFile(atPath: "/usr/bin/promtool") else {
      SkipReason("there is no promtool: apt-get install prometheus").announce("promtool")
      try Test.cancel("SKIPPED: there is no promtool")
    }
    try Data(Metrics(.example, .prometheus).text.utf8).write(to: URL(filePath: folder("text")))
    let check = try ChildProcess([
      "/bin/sh", "-c", "exec promtool check metrics <'\(folder("text"))'",
    ])
    #expect(check.wait(.seconds(20)) == .code(0))
    #expect(check.output.text + check.errors.text == "")
  }
}
