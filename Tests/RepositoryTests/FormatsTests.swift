import Foundation
import Testing
import TestSupport

/// FORMATS.md is the list of names that are taken.
@Suite("Wire formats")
struct FormatsTests {
  private func listed() throws -> Set<String> {
    let text = try String(contentsOfFile: Repository.root + "/FORMATS.md", encoding: .utf8)
    return Set(
      text.split(separator: "\n").compactMap { line in
        line.firstMatch(of: /^\| `([a-z0-9][a-z0-9_-]{0,30}\/[1-9][0-9]{0,3})` \|/)
          .map { String($0.1) }
      })
  }

  @Test("every format that the built-ins and the examples declare is in the list")
  func complete() throws {
    let ended = try Repository.run(
      ["grep", "-rhoE", "\"[a-z0-9][a-z0-9_-]{0,30}/[1-9][0-9]{0,3}\""]
        + ["Plugins", "../Examples"].map { "\(Repository.root)/Sources/\($0)" })
    let declared = Set(
      ended.output.split(separator: "\n").map { String($0.dropFirst().dropLast()) }
        // For private use: in no list.
        .filter { !$0.hasPrefix("x-") })
    let listed = try listed()
    #expect(declared.count > 5 && declared == listed, "\(declared)")
  }

  @Test("a link in the list leads somewhere")
  func links() throws {
    let text = try String(contentsOfFile: Repository.root + "/FORMATS.md", encoding: .utf8)
    let links = text.matches(of: /\]\(([^)#]+)(#[a-z-]+)?\)/)
    #expect(links.count > 5)
    for link in links {
      let path = "\(Repository.root)/\(link.1)"
      #expect(FileManager.default.fileExists(atPath: path), "\(link.1)")
      guard let heading = link.2 else { continue }
      let file = try String(contentsOfFile: path, encoding: .utf8)
      let headings = file.split(separator: "\n").filter { $0.hasPrefix("#") }.map {
        "#"
          + $0.drop { $0 == "#" || $0 == " " }.lowercased().map { $0 == " " ? "-" : $0 }
          .filter { $0.isLetter || $0.isNumber || $0 == "-" }
      }
      #expect(headings.contains { $0.hasPrefix(String(heading)) }, "\(link.0)")
    }
  }
}
