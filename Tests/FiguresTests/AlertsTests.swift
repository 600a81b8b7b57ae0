import Foundation
import Roles
import TestSupport
import Testing

/// Support/metrics has rules for Prometheus and a dashboard for Grafana: what they ask for has to be
/// what is printed, and what is printed has to be in docs/figures.md.
@Suite("Alerts and dashboard")
struct AlertsTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().path
  /// In a file of rules nobody's but ours are asked for by other names.
  private static let files = ["alerts.yml", "alerts-test.yml", "dashboard.json"]
  /// What a scraper adds.
  private static let scrapers: Set<String> = ["job", "instance", "guest"]

  private static func text(_ path: String) throws -> String {
    try String(contentsOfFile: root + "/" + path, encoding: .utf8)
  }

  /// Every metric that is printed, with its labels.
  private static func printed() throws -> [String: Set<String>] {
    let lines = Metrics(try .whole, .prometheus).text.split(separator: "\n")
    return lines.filter { !$0.hasPrefix("#") }.reduce(into: [:]) { all, line in
      let name = String(line.prefix { $0 != "{" && $0 != " " })
      all[name, default: []].formUnion(line.matches(of: /([a-z]+)="/).map { String($0.1) })
    }
  }

  /// Names of metrics in a text, each with what is in the braces behind it.
  private static func named(in text: String) -> [(name: String, braces: String)] {
    text.replacing("\\\"", with: "\"").matches(of: /(multifd_[a-z_]+)(\{[^{}]*\})?/).map {
      (String($0.1), String($0.2 ?? ""))
    }
  }

  /// Expressions of the dashboard, as Prometheus gets them.
  private static func dashboardsExpressions() throws -> [String] {
    func expressions(_ value: Any) -> [String] {
      switch value {
      case let list as [Any]: list.flatMap(expressions)
      case let object as [String: Any]:
        [object["expr"] as? String].compactMap { $0 } + object.values.flatMap(expressions)
      default: []
      }
    }
    let data = Data(try text("Support/metrics/dashboard.json").utf8)
    return expressions(try JSONSerialization.jsonObject(with: data)).map {
      $0.replacing(/\$__(rate_interval|range)/, with: "5m").replacing(
        /\$(guest|instance)/, with: ".*")
    }
  }

  @Test("What they name is printed, with the labels that they name", arguments: files)
  func names(_ file: String) throws {
    let printed = try Self.printed()
    let text = try Self.text("Support/metrics/" + file)
    let named = Self.named(in: text)
    #expect(named.count >= 15)
    for (name, braces) in named {
      guard let labels = printed[name] else {
        Issue.record("\(name) in \(file) is nothing that is printed")
        continue
      }
      for label in braces.matches(of: /([a-z]+)(=|!=|=~|!~)"/).map({ String($0.1) })
      where !labels.union(Self.scrapers).contains(label) {
        Issue.record("\(name) in \(file) has no label '\(label)'")
      }
    }
    // In legends, annotations, and what sums go by.
    let all = printed.values.reduce(Self.scrapers) { $0.union($1) }
    let others =
      text.matches(of: /(?:\$labels\.|\{\{)([a-z]+)/).map { String($0.1) }
      + text.matches(of: /\b(?:by|on|ignoring|without|group_left) \(([a-z, ]+)\)/).flatMap {
        $0.1.split(separator: ", ").map(String.init)
      }
    for label in others where !all.union(["alertname", "severity"]).contains(label) {
      Issue.record("'\(label)' in \(file) is no label")
    }
  }

  @Test("Every one that is printed is in the documentation, and no other")
  func documented() throws {
    let page = try Self.text("docs/figures.md")
    let ends = /_(bucket|sum|count)$/
    let printed = Set(try Self.printed().keys.map { $0.replacing(ends, with: "") })
    let documented = Set(page.matches(of: /`(multifd_[a-z_]+)`/).map { String($0.1) })
    #expect(printed.subtracting(documented) == [] && documented.subtracting(printed) == [])
  }

  @Test("Every metric is on the dashboard, but those that others there are made of")
  func shown() throws {
    let shown = Set(Self.named(in: try Self.text("Support/metrics/dashboard.json")).map(\.name))
    let missing = try Self.printed().keys.filter { !shown.contains($0) }
    #expect(
      Set(missing) == [
        "multifd_checkpoint", "multifd_disk_epoch", "multifd_last_commit_timestamp_seconds",
      ])
  }

  @Test("promtool takes the rules, their tests, and the dashboard's expressions")
  func promtool() throws {
    guard FileManager.default.isExecutableFile(atPath: "/usr/bin/promtool") else {
      SkipReason("there is no promtool: apt-get install prometheus").announce("promtool")
      try Test.cancel("SKIPPED: there is no promtool")
    }
    let folder = try TemporaryFolder()
    let expressions = try Self.dashboardsExpressions()
    #expect(expressions.count > 30)
    // In JSON, which is YAML.
    let rules = expressions.enumerated().map { ["record": "x:\($0)", "expr": $1] }
    try JSONSerialization.data(
      withJSONObject: ["groups": [["name": "x", "rules": rules]]], options: .withoutEscapingSlashes
    )
    .write(to: URL(filePath: folder("dashboard.yml")))
    for command in [
      ["check", "rules", Self.root + "/Support/metrics/alerts.yml", folder("dashboard.yml")],
      ["test", "rules", Self.root + "/Support/metrics/alerts-test.yml"],
    ] {
      let check = try ChildProcess(["/usr/bin/promtool"] + command)
      #expect(
        check.wait(.seconds(60)) == .code(0), "\(check.output.text) \(check.errors.text)")
    }
  }
}
