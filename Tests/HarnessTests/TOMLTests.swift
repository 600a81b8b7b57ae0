import Harness
import Testing

/// The subset of TOML, and what is outside of it.
@Suite struct TOMLTests {
  private func entries(_ text: String) throws -> [TOML.Entry] { try TOML(text).entries }

  @Test("what is read")
  func read() throws {
    let text = """
      # a comment
      level = 8   # another
        on=true\t
      off = false

      [options] # of the backend
      big = -1_000
      "with # and /" = 'C:\\new'
      text = "a \\"b\\" \\\\ \\t\\u00e9#"
      empty = ""
      [ "quoted" ]
      """
    let toml = try TOML(text)
    #expect(
      toml.entries == [
        .init(table: "", key: "level", value: .integer(8), line: 2),
        .init(table: "", key: "on", value: .boolean(true), line: 3),
        .init(table: "", key: "off", value: .boolean(false), line: 4),
        .init(table: "options", key: "big", value: .integer(-1000), line: 7),
        .init(table: "options", key: "with # and /", value: .string("C:\\new"), line: 8),
        .init(table: "options", key: "text", value: .string("a \"b\" \\ \té#"), line: 9),
        .init(table: "options", key: "empty", value: .string(""), line: 10),
      ])
    #expect(toml.tables.map(\.name) == ["options", "quoted"] && toml.tables[1].line == 11)
    #expect(
      try TOML(
        text.split(separator: "\n", omittingEmptySubsequences: false)
          .joined(separator: "\r\n")) == toml, "lines that end as on Windows")
    #expect(try entries("").isEmpty && entries("\n\n# nothing").isEmpty)
  }

  @Test(
    "what is refused, with its line",
    arguments: [
      ("a = 1\nb", 2, "after 'b' comes ="), ("a =", 1, "no value"), ("a = # b", 1, "no value"),
      ("a = 1 2", 1, "more on the line"), ("a = \"b\" c", 1, "more on the line"),
      ("[a] b", 1, "more on the line"), ("a = yes", 1, "'yes' is no string"),
      ("a = 01", 1, "'01' is no"), ("a = 1.5", 1, "'1.5' is no"), ("a = 1_", 1, "'1_' is no"),
      ("a = 99999999999999999999", 1, "is no"), ("a = 0x10", 1, "is no"),
      ("a = 2026-01-01", 1, "is no"), ("\n\na = \"b", 3, "not closed"), ("a = 'b", 1, "not closed"),
      ("a = \"\\q\"", 1, "escapes"), ("a = \"\\u12\"", 1, "\\u"), ("a = \"\\ud800\"", 1, "\\u"),
      ("a = \"\u{1}\"", 1, "control character"), ("a = \"\"\"b\"\"\"", 1, "many lines"),
      ("a = [1]", 1, "arrays"), ("a = {}", 1, "inline tables"), ("[[a]]", 1, "arrays of tables"),
      ("[a.b]", 1, "within tables"), ("a.b = 1", 1, "dotted"), ("a/b = 1", 1, "after 'a' comes ="),
      ("/ = 1", 1, "names with / go in quotes"), ("[a", 1, "ends with ]"), ("[]", 1, "a line is"),
      ("a = 1\na = 2", 2, "'a' is there twice"), ("[a]\n[a]", 2, "[a] is there twice"),
    ])
  func refused(text: String, line: Int, why: String) {
    do throws(TOML.Wrong) {
      Issue.record("\(text) is read as \(try TOML(text).entries)")
    } catch {
      #expect(error.line == line && error.why.contains(why), "\(error)")
    }
  }

  @Test("no text ends the process")
  func noise() {
    var random = SystemRandomNumberGenerator()
    let alphabet = Array("[]\"'\\=#. \nau01_-é\r".unicodeScalars)
    for _ in 0..<3000 {
      var text = String.UnicodeScalarView()
      for _ in 0..<Int.random(in: 0...12, using: &random) {
        text.append(alphabet.randomElement(using: &random)!)
      }
      _ = try? TOML(String(text))
    }
  }
}
