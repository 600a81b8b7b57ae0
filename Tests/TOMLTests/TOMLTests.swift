import TOML
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
      half = 0.5 # not 1
      small = -1.5e-3
      none = [ ]
      "some" = [ # of each
        "a#b", 'c]',
        # nothing

        7, 1.25, true, ] # the end
      last = "\\b\\f\\r\\U0001F600"
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
        .init(table: "quoted", key: "half", value: .float(0.5), line: 12),
        .init(table: "quoted", key: "small", value: .float(-0.0015), line: 13),
        .init(table: "quoted", key: "none", value: .array([]), line: 14),
        .init(
          table: "quoted", key: "some",
          value: .array([
            .string("a#b"), .string("c]"), .integer(7), .float(1.25), .boolean(true),
          ]), line: 15),
        .init(table: "quoted", key: "last", value: .string("\u{8}\u{c}\r\u{1F600}"), line: 20),
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
      ("a = 01", 1, "'01' is no"), ("a = 1_", 1, "'1_' is no"),
      ("a = 99999999999999999999", 1, "is no"), ("a = 0x10", 1, "is no"),
      ("a = 2026-01-01", 1, "is no"), ("\n\na = \"b", 3, "not closed"), ("a = 'b", 1, "not closed"),
      ("a = \"\\q\"", 1, "escapes"), ("a = \"\\u12\"", 1, "\\u"), ("a = \"\\ud800\"", 1, "\\u"),
      ("a = \"\u{1}\"", 1, "control character"), ("a = \"\"\"b\"\"\"", 1, "many lines"),
      ("a = [1", 1, "not closed"), ("\na = [\n\n", 2, "not closed"), ("a = [1 2]", 1, "a comma"),
      ("a = [\n1\n2]", 3, "a comma"), ("a = [,]", 1, "no value"), ("a = [[1]]", 1, "within arrays"),
      ("a = [\n'b]", 2, "not closed"), ("a = 1]", 1, "more on the line"),
      ("a = 1,", 1, "more on the line"), ("a = 1\rb = 2", 1, "more on the line"),
      ("a = inf", 1, "is no"), ("a = 1.", 1, "is no"), ("a = .5", 1, "is no"),
      ("a = 1e999", 1, "is no"), ("a = 07:32:00", 1, "is no"), ("a = 0b1", 1, "is no"),
      ("a = \"b\nc\"", 1, "not closed"), ("a = \"\\\nb\"", 1, "escapes"),
      ("a = \"\\U00110000\"", 1, "the 8 digits"), ("key = x", 1, "key: 'x'"),
      ("a = {}", 1, "inline tables"), ("[[a]]", 1, "arrays of tables"),
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

  @Test("what is cut off anywhere is read, or refused, and means nothing else")
  func cut() throws {
    let text = """
      role = "receive" # é
      [a]
      "b c" = [ 'x', "\\u00e9\\n", -1_0, 1.5e3,
        true ]
      d = "\\U0001F600"
      """
    let whole = try entries(text)
    #expect(whole.count == 3)
    let scalars = Array(text.unicodeScalars)
    for count in 0...scalars.count {
      let part = String(String.UnicodeScalarView(scalars[..<count]))
      guard let read = try? entries(part) else { continue }
      #expect(read == Array(whole.prefix(read.count)), "\(part)")
    }
  }

  @Test("what is written is read as it was")
  func written() throws {
    let values: [TOML.Value] = [
      .string("a \"b\" \\ \u{0}\u{1b}\n\u{7f} é '#]"), .integer(-7), .float(0.25), .float(1e300),
      .boolean(true), .array([.string("x"), .integer(1)]), .array([]),
    ]
    for value in values {
      #expect(try entries("a = \(value.toml) # b").map(\.value) == [value], "\(value.toml)")
    }
  }

  @Test("no text ends the process")
  func noise() {
    var random = SystemRandomNumberGenerator()
    let alphabet = Array("[],\"'\\=#. \nauU01_-eé\r".unicodeScalars)
    for _ in 0..<3000 {
      var text = String.UnicodeScalarView()
      for _ in 0..<Int.random(in: 0...12, using: &random) {
        text.append(alphabet.randomElement(using: &random)!)
      }
      _ = try? TOML(String(text))
    }
  }
}
