import Foundation
import TestSupport
import Testing

/// docs/troubleshooting.md quotes what the program says: nothing that it does not say, and
/// everything that ends it.
@Suite("Messages in the documentation")
struct TroubleshootingTests {
  /// Who has words of its own, of no concern to an operator, or explained where its authors look.
  private static let others = [
    "Skeletons/", "PluginLoader/", "PluginsNew", "Wire/", "Bench", "Inspect/", "Train/",
  ]
  /// What makes an error.
  nonisolated(unsafe) private static let makers =
    /\b(Failure|StoreError|TransportError|TLSError|LinkRefusal|MonitorError|gone|alive)\(/
  /// Parts of others.
  private static let known: Set<String> = ["it has ended by itself (", "inside a packet"]

  private struct Source {
    var path: String
    var literals: Literals
  }

  private static let sources: [Source] = {
    let root = Repository.root + "/Sources/Host/"
    let files = FileManager.default.enumerator(atPath: root)?.compactMap { $0 as? String } ?? []
    return files.sorted().filter { $0.hasSuffix(".swift") && !$0.hasPrefix("Harness") }.map {
      path in
      let text = (try? String(contentsOfFile: root + path, encoding: .utf8)) ?? ""
      return Source(path: path, literals: Literals(text))
    }
  }()

  /// What stands in backticks in the first columns of the tables of messages.
  private static func quoted() throws -> [String] {
    let page = try String(
      contentsOfFile: Repository.root + "/docs/troubleshooting.md", encoding: .utf8)
    var (quoted, isTable): ([String], Bool) = ([], false)
    for line in page.split(separator: "\n", omittingEmptySubsequences: false) {
      isTable = line.hasPrefix("| message |") || isTable && line.hasPrefix("|")
      guard isTable, let column = line.split(separator: " | ").first else { continue }
      quoted += column.matches(of: /`([^`]+)`/).map { String($0.1) }
    }
    return quoted
  }

  /// The literals that may have said a message: most of what is fixed in it is theirs. Words in
  /// capitals stand for something else.
  private static func sayers(of message: String) -> [Literals.Literal] {
    let fixed = message.replacing(/\b[A-Z]+\b/.wordBoundaryKind(.simple), with: "").count {
      $0.isLetter
    }
    let possible = max(4, (fixed * 8 + 9) / 10)...max(4, message.count)
    return sources.flatMap { source in
      source.literals.all.filter { literal in
        possible.contains(literal.letters) && literal.isSaid(in: message)
      }
    }
  }

  @Test("What is quoted is said")
  func quotes() throws {
    let quoted = try Self.quoted()
    #expect(quoted.count > 300 && Self.sources.count > 200)
    for message in quoted where Self.sayers(of: message).isEmpty {
      Issue.record("nothing says '\(message)' any more")
    }
  }

  @Test("What ends a command is explained")
  func explained() throws {
    let said = Set(try Self.quoted().flatMap(Self.sayers).map(\.parts))
    var count = 0
    for source in Self.sources
    where !Self.others.contains(where: source.path.contains) {
      for literal in source.literals.all where Self.endsSomething(literal, source.literals) {
        count += 1
        if !said.contains(literal.parts) {
          Issue.record(
            "\(source.path): '\(literal.parts.joined(separator: "…"))' is not in the page")
        }
      }
    }
    #expect(count > 200)
  }

  /// Whether it is why something has failed, and more than a place, a hint or a word.
  private static func endsSomething(_ literal: Literals.Literal, _ source: Literals) -> Bool {
    let words = literal.parts.joined(separator: "…")
    guard words.count(where: { $0 == " " }) > 1, !known.contains(literal.parts[0]) else {
      return false
    }
    let context = source.context(of: literal)
    guard let maker = context.matches(of: makers).last else { return false }
    let inside = context[maker.range.lowerBound...]
    let depth = inside.reduce(0) { $0 + ($1 == "(" ? 1 : $1 == ")" ? -1 : 0) }
    // What is wrong with a command line says it all.
    return depth > 0 && !["hint:", "at:", ".usage"].contains { inside.contains($0) }
  }
}
