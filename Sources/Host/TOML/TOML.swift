/// As much of TOML 1.0 as files of ours need: comments, tables of one level, and of values strings
/// on one line, numbers, booleans, and arrays of those, on one line or several. What else TOML has
/// is refused with its line: read in another way than its author meant, it would switch off the
/// wrong thing.
package struct TOML: Equatable {
  package enum Value: Equatable, Sendable {
    case string(String)
    case integer(Int)
    case float(Double)
    case boolean(Bool)
    case array([Value])
  }

  /// One `key = value`.
  package struct Entry: Equatable {
    /// Empty in front of the first table.
    package let table: String
    package let key: String
    package let value: Value
    /// Where the key stands, counting from 1.
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

    package init(line: Int, why: String) { (self.line, self.why) = (line, why) }
  }

  /// In the order in which they stand.
  package private(set) var entries: [Entry] = []
  /// The tables that there are, those without entries too, and their lines.
  package private(set) var tables: [(name: String, line: Int)] = []

  package static func == (a: TOML, b: TOML) -> Bool { a.entries == b.entries }

  /// Reads a whole text.
  package init(_ text: String) throws(Wrong) {
    var reader = Reader(rest: text.unicodeScalars[...])
    var table = ""
    var keys: [String: Set<String>] = ["": []]
    while !reader.rest.isEmpty {
      reader.skip()
      if reader.take("[") {
        table = try reader.tableName()
        guard tables.allSatisfy({ $0.name != table }) else {
          throw reader.wrong("the table [\(table)] is there twice")
        }
        tables.append((table, reader.line))
        keys[table, default: []] = []
      } else if !reader.isAtLineEnd {
        let line = reader.line
        let key = try reader.assigned()
        guard keys[table, default: []].insert(key).inserted else {
          throw reader.wrong("'\(key)' is there twice")
        }
        do throws(Wrong) {
          entries.append(Entry(table: table, key: key, value: try reader.value(), line: line))
        } catch { throw Wrong(line: error.line, why: "\(key): \(error.why)") }
      }
      reader.skip()
      guard reader.isAtLineEnd else {
        throw reader.wrong("there is more on the line than belongs there")
      }
      reader.endLine()
    }
  }

  /// What is left of a text, and on which line that begins.
  private struct Reader {
    var rest: String.UnicodeScalarView.SubSequence
    var line = 1

    func wrong(_ why: String) -> Wrong { Wrong(line: line, why: why) }

    /// At the end of a line, as on Windows too, or at a comment.
    var isAtLineEnd: Bool { rest.first == nil || rest.first == "#" || isAtNewline }

    private var isAtNewline: Bool {
      rest.first == "\n" || (rest.first == "\r" && rest.dropFirst().first == "\n")
    }

    mutating func skip() { rest = rest.drop { $0 == " " || $0 == "\t" } }

    /// On to the next line.
    mutating func endLine() {
      rest = rest.drop { $0 != "\n" }.dropFirst()
      line += 1
    }

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

    /// The key, and on to its value.
    mutating func assigned() throws(Wrong) -> String {
      let key = try key()
      skip()
      guard rest.first != "." else {
        throw wrong("dotted keys are not read here: put a name with other characters in quotes")
      }
      guard take("=") else { throw wrong("after '\(key)' comes =") }
      skip()
      return key
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
      case "[":
        rest.removeFirst()
        return .array(try elements())
      case "{": throw wrong("inline tables are not read here")
      default: break
      }
      let ends: Set<Unicode.Scalar> = [" ", "\t", "#", "\n", "\r", ",", "]"]
      let word = String(rest.prefix { !ends.contains($0) })
      rest = rest.dropFirst(word.unicodeScalars.count)
      switch word {
      case "true": return .boolean(true)
      case "false": return .boolean(false)
      case "": throw wrong("there is no value")
      default: break
      }
      let digits = word.filter { $0 != "_" }
      if word.wholeMatch(of: /[+-]?(0|[1-9](_?[0-9])*)/) != nil, let number = Int(digits) {
        return .integer(number)
      }
      let fraction = /[+-]?(0|[1-9](_?[0-9])*)(\.[0-9](_?[0-9])*)?([eE][+-]?[0-9](_?[0-9])*)?/
      if word.contains(where: { ".eE".contains($0) }), word.wholeMatch(of: fraction) != nil,
        let number = Double(digits), number.isFinite
      {
        return .float(number)
      }
      throw wrong("'\(word)' is no string in quotes, no number, and neither true nor false")
    }

    /// Behind the `[` of an array, to its `]`.
    private mutating func elements() throws(Wrong) -> [Value] {
      let start = line
      var values: [Value] = []
      while true {
        skipLines()
        guard rest.first != nil else {
          throw Wrong(line: start, why: "the array that begins here is not closed")
        }
        if take("]") { return values }
        guard rest.first != "[" else { throw wrong("arrays within arrays are not read here") }
        values.append(try value())
        skipLines()
        guard take(",") || rest.first == "]" || rest.first == nil else {
          throw wrong("between the values of an array stands a comma")
        }
      }
    }

    /// Blanks, comments and ends of lines, which count for nothing in an array.
    private mutating func skipLines() {
      skip()
      while !rest.isEmpty, isAtLineEnd {
        endLine()
        skip()
      }
    }

    /// `"…"` with escapes, or `'…'` without.
    mutating func string() throws(Wrong) -> String {
      let quote = rest.removeFirst()
      if rest.starts(with: [quote, quote]) {
        throw wrong("strings of many lines are not read here")
      }
      var text = String.UnicodeScalarView()
      while !isAtNewline, let scalar = rest.popFirst() {
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
      let plain: [Unicode.Scalar: Unicode.Scalar] = [
        "\"": "\"", "\\": "\\", "b": "\u{8}", "t": "\t", "n": "\n", "f": "\u{c}", "r": "\r",
      ]
      let letter = isAtNewline ? nil : rest.popFirst()
      if let letter, let meant = plain[letter] { return meant }
      guard letter == "u" || letter == "U" else {
        throw wrong(
          "of escapes only \\\" \\\\ \\b \\t \\n \\f \\r \\uXXXX \\UXXXXXXXX are read here")
      }
      let count = letter == "u" ? 4 : 8
      let digits = String(rest.prefix(count))
      rest = rest.dropFirst(count)
      guard digits.wholeMatch(of: /[0-9A-Fa-f]+/) != nil, digits.utf8.count == count,
        let scalar = UInt32(digits, radix: 16).flatMap(Unicode.Scalar.init)
      else {
        throw wrong(
          "\\\(letter == "u" ? "u" : "U") is followed by the \(count) digits of a character")
      }
      return scalar
    }
  }
}

extension TOML.Value {
  /// As it stands in a file.
  package var toml: String {
    switch self {
    case .string(let text): Self.quoted(text)
    case .integer(let number): "\(number)"
    case .float(let number): "\(number)"
    case .boolean(let value): "\(value)"
    case .array(let values): "[" + values.map(\.toml).joined(separator: ", ") + "]"
    }
  }

  private static func quoted(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": quoted += "\\\(scalar)"
      // The upper ones are nothing to TOML, and may drive a terminal.
      case _ where scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value):
        let digits = String(scalar.value, radix: 16)
        quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "\""
  }
}
