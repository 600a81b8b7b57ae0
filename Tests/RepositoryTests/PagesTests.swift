import Foundation
import Testing

/// Every link in the documentation leads somewhere.
@Suite("Pages")
struct PagesTests {
  private static let pages: [String] = {
    let root = Repository.root
    guard let all = FileManager.default.enumerator(atPath: root) else { return [] }
    var pages: [String] = []
    while let path = all.nextObject() as? String {
      // Builds, and what cargo has made.
      if path.hasPrefix(".") || path.hasSuffix("/target") { all.skipDescendants() }
      if path.hasSuffix(".md") { pages.append(path) }
    }
    return pages.sorted()
  }()

  /// Without what stands between fences, where a bracket is code's.
  private static func text(_ path: String) throws -> String {
    let text = try String(contentsOfFile: "\(Repository.root)/\(path)", encoding: .utf8)
    return text.replacing(/(?m)^```[^`]*^```/, with: "")
  }

  /// The names that GitHub and others give to a page's headings.
  private static func anchors(_ path: String) throws -> Set<String> {
    var anchors: Set<String> = []
    for line in try text(path).split(separator: "\n") where line.hasPrefix("#") {
      let words = line.drop { $0 == "#" }.dropFirst().lowercased()
        // What is linked in a heading counts by its words.
        .replacing(/\]\([^)]*\)/, with: "]")
      let name = words.replacing(" ", with: "-").filter {
        $0.isLetter || $0.isNumber || $0 == "-" || $0 == "_"
      }
      // The second of a name has a number.
      anchors.insert(anchors.contains(name) ? name + "-1" : name)
    }
    return anchors
  }

  @Test("Links lead to files and headings that are there")
  func links() throws {
    var count = 0
    for page in Self.pages {
      for link in try Self.text(page).matches(of: /\]\(([^)\s]+)\)/).map({ String($0.1) })
      where !link.contains("://") && !link.hasPrefix("mailto:") {
        count += 1
        let parts = link.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
        let folder = (page as NSString).deletingLastPathComponent
        let path =
          parts[0].isEmpty
          ? page
          : ((folder as NSString).appendingPathComponent(String(parts[0])) as NSString)
            .standardizingPath
        guard FileManager.default.fileExists(atPath: "\(Repository.root)/\(path)") else {
          Issue.record("\(page) leads to \(link), which is not there")
          continue
        }
        guard parts.count > 1, path.hasSuffix(".md") else { continue }
        if !(try Self.anchors(path).contains(String(parts[1]))) {
          Issue.record("\(page) leads to \(link), a heading that \(path) has not")
        }
      }
    }
    #expect(Self.pages.count > 20 && count > 100)
  }

  @Test("An alert leads to a place in the documentation that is there, and has a test")
  func runbooks() throws {
    func text(_ name: String) throws -> String {
      try String(contentsOfFile: Repository.root + "/Support/metrics/" + name, encoding: .utf8)
    }
    let rules = try text("alerts.yml")
    let alerts = rules.matches(of: /- alert: (\w+)/).map { String($0.1) }
    let runbooks = rules.matches(of: /runbook: (\S+)#(\S+)/)
    #expect(alerts.count > 10 && alerts.count == runbooks.count)
    for book in runbooks {
      #expect(try Self.anchors(String(book.1)).contains(String(book.2)), "\(book.0)")
    }
    let tests = try text("alerts-test.yml")
    for alert in alerts { #expect(tests.contains(alert), "\(alert) has no test") }
  }
}
