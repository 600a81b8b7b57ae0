import Foundation
import TestSupport
import Testing

/// docs/threat-model.md says of each threat which test shows what stops it.
@Suite("The threat model")
struct ThreatModelTests {
  private struct Named: Hashable {
    var target: String
    var suite: String
    var function: String?
  }

  private static func page() throws -> String {
    try String(contentsOfFile: Repository.root + "/docs/threat-model.md", encoding: .utf8)
  }

  /// What stands in backticks as `Target.Suite` or `Target.Suite/function`.
  private static func named(in text: some StringProtocol) -> [Named] {
    String(text).matches(of: /`([A-Za-z]+Tests)\.([A-Za-z]+)(?:\/([A-Za-z]+))?`/).map {
      Named(target: String($0.1), suite: String($0.2), function: $0.3.map(String.init))
    }
  }

  /// Which of these files and folders' files have a line that an expression matches.
  private static func files(_ places: [String], with expression: String) throws -> [String] {
    try Repository.run(["grep", "-rlE", "--include=*.swift", expression] + places).output
      .split(separator: "\n").map(String.init)
  }

  @Test("each test that it names is there, in the suite and the target that it says")
  func exist() throws {
    let all = Set(Self.named(in: try Self.page()))
    #expect(all.count > 40)
    for (suite, named) in Dictionary(grouping: all, by: { [$0.target, $0.suite] }) {
      let files = try Self.files(
        ["\(Repository.root)/Tests/\(suite[0])"],
        with: "(struct|class|enum|extension) \(suite[1])\\b")
      #expect(!files.isEmpty, "there is no \(suite)")
      for function in named.compactMap(\.function) where !files.isEmpty {
        #expect(
          try !Self.files(files, with: "func \(function)\\(").isEmpty,
          "\(suite) has no \(function)()")
      }
    }
  }

  @Test("each line of its tables names one, or says that nothing stops it")
  func rows() throws {
    let rows = try Self.page().split(separator: "\n").filter { $0.hasPrefix("| ") }
      .filter { !$0.contains("| shown by |") }
    #expect(rows.count > 30)
    for row in rows where !row.contains("| nothing: ") {
      #expect(!Self.named(in: row).isEmpty, "\(row)")
    }
  }

  @Test("SECURITY.md leads there")
  func linked() throws {
    let text = try String(contentsOfFile: Repository.root + "/SECURITY.md", encoding: .utf8)
    #expect(text.contains("(docs/threat-model.md)"))
  }
}
