/// As much of TOML 1.0 as `harness.toml` needs: comments, tables of one level, and of values
/// strings on one line, integers and booleans. What else TOML has is refused with its line: read
/// in another way than its author meant, it would switch off the wrong thing.
package struct TOML: Equatable {
  package enum Value: Equatable {
    case string(String)
    case integer(Int)
    case boolean(Bool)
  }

  /// One `key = value`.
  package struct Entry: Equatable {
    /// Empty in front of the first table.
    package let table: String
    package let key: String
    package let value: Value
    /// Counting from 1.
    package let line: Int

    package init(table: String, key: String, value: Value, line: Int) {
      self.table = table
      self.key = key
      self.value = value
      self.line = line
    }
  }

  /// What is wrong, and where.
  package struct Wrong: Error, Equatable {
    package let line: Int
    package let why: String
  }

  /// In the order in which they stand.
  package private(set) var entries: [Entry] = []
  /// The tables that there are, those without entries too, and their lines.
  package private(set) var tables: [(name: String, line: Int)] = []

  package static func == (a: TOML, b: TOML) -> Bool { a.entries == b.entries }

  /// Reads a whole text.
  package init(_ text: String) throws(Wrong) {
    // A line may end as on Windows; as one Character that is not "\n" to Swift.
    let lines = text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false)
    var table = ""
    for (index, scalars) in lines.enumerated() {
      var line = Line(rest: scalars.last == "\r" ? scalars.dropLast() : scalars, number: index + 1)
      line.skip()
      guard !line.isAtEnd else { continue }
      if line.take("[") {
        table = try line.tableName()
        if tables.contains(where: { $0.name == table }) {
          throw line.wrong("the table [\(table)] is there twice")
        }
        tables.append((table, line.number))
      } else {
        let (key, value) = try line.assignment()
        if entries.contains(where: { $0.table == table && $0.key == key }) {
          throw line.wrong("'\(key)' is there twice")
        }
        entries.append(Entry(table: table, key: key, value: value, line: line.number))
      }
      line.skip()
      guard line.isAtEnd else { throw line.wrong("there is more on the line than belongs there") }
    }
  }

  /// What is left of one line.
  private struct Line {
    var rest: String.UnicodeScalarView.SubSequence
    let number: Int

    func wrong(_ why: String) -> Wrong { Wrong(line: number, why: why) }

    /// At the end, or at a comment.
    var isAtEnd: Bool { rest.first == nil || rest.first == "#" }

    mutating func skip() { rest = rest.drop { $0 == " " || $0 == "\t" } }

    mutating func take(_ scalar: Unicode.Scalar) -> Bool {
      guard rest.first == scalar else { return false }
      rest.removeFirst()
      return true
    }

    mutating func tableName() throws(Wrong) -> String {
      guard rest.first != "[" else { throw wrong("arrays of tables are not read here") }
      skip()
      let name = try key()
      skip()
      guard rest.first != "." else { throw wrong("tables within tables are not read here") }
      guard take("]") else { throw wrong("a table's name ends with ]") }
      return name
    }

    mutating func assignment() throws(Wrong) -> (String, Value) {
      let key = try key()
      skip()
      guard rest.first != "." else {
        throw wrong("dotted keys are not read here: put a name with other characters in quotes")
      }
      guard take("=") else { throw wrong("after '\(key)' comes =") }
      skip()
      return (key, try value())
    }

    mutating func key() throws(Wrong) -> String {
      if rest.first == "\"" || rest.first == "'" { return try string() }
      let name = rest.prefix {
        ("a"..."z").contains($0) || ("A"..."Z").contains($0) || ("0"..."9").contains($0)
          || $0 == "-" || $0 == "_"
      }
      guard !name.isEmpty else {
        throw wrong("a line is [table], key = value, or a comment; names with / go in quotes")
      }
      rest = rest.dropFirst(name.count)
      return String(name)
    }

    mutating func value() throws(Wrong) -> Value {
      switch rest.first {
      case "\"", "'": return .string(try string())
      case "[", "{": throw wrong("arrays and inline tables are not read here")
      default: break
      }
      let word = String(rest.prefix { $0 != " " && $0 != "\t" && $0 != "#" })
      rest = rest.dropFirst(word.unicodeScalars.count)
      switch word {
      case "true": return .boolean(true)
      case "false": return .boolean(false)
      case "": throw wrong("there is no value")
      default: break
      }
      guard word.wholeMatch(of: /[+-]?(0|[1-9](_?[0-9])*)/) != nil,
        let number = Int(word.filter { $0 != "_" })
      else {
        throw wrong("'\(word)' is no string in quotes, no integer, and neither true nor false")
      }
      return .integer(number)
    }

    /// `"…"` with escapes, or `'…'` without.
    mutating func string() throws(Wrong) -> String {
      let quote = rest.removeFirst()
      if rest.starts(with: [quote, quote]) {
        throw wrong("strings of many lines are not read here")
      }
      var text = String.UnicodeScalarView()
      while let scalar = rest.popFirst() {
        if scalar == quote { return String(text) }
        if scalar == "\\", quote == "\"" {
          text.append(try escape())
        } else {
          guard scalar.value >= 0x20 && scalar.value != 0x7f || scalar == "\t" else {
            throw wrong("there is a control character in a string")
          }
          text.append(scalar)
        }
      }
      throw wrong("a string is not closed")
    }

    private mutating func escape() throws(Wrong) -> Unicode.Scalar {
      switch rest.popFirst() {
      case "\"": return "\""
      case "\\": return "\\"
      case "n": return "\n"
      case "t": return "\t"
      case "u":
        let digits = String(rest.prefix(4))
        rest = rest.dropFirst(4)
        guard digits.wholeMatch(of: /[0-9A-Fa-f]{4}/) != nil,
          let scalar = UInt32(digits, radix: 16).flatMap(Unicode.Scalar.init)
        else { throw wrong("\\u is followed by the four digits of a character") }
        return scalar
      default: throw wrong("of escapes only \\\" \\\\ \\n \\t and \\uXXXX are read here")
      }
    }
  }
}
