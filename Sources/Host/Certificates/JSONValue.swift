/// JSON, as much of it as a report needs.
package enum JSONValue: Equatable {
  case null
  case bool(Bool)
  case number(Double)
  case string(String)
  case array([JSONValue])
  /// In the order in which it is written.
  case object([(String, JSONValue)])

  package static func == (a: JSONValue, b: JSONValue) -> Bool { a.text() == b.text() }

  package subscript(key: String) -> JSONValue? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.0 == key }?.1
  }

  package var elements: [JSONValue] { if case .array(let all) = self { all } else { [] } }
  package var members: [(String, JSONValue)] { if case .object(let all) = self { all } else { [] } }
  package var number: Double? { if case .number(let value) = self { value } else { nil } }
  package var string: String? { if case .string(let text) = self { text } else { nil } }
  package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }

  /// Two spaces for each level.
  package func text(_ indent: String = "") -> String {
    let inner = indent + "  "
    func list(_ open: String, _ items: [String], _ close: String) -> String {
      items.isEmpty
        ? open + close
        : "\(open)\n" + items.map { inner + $0 }.joined(separator: ",\n") + "\n\(indent)\(close)"
    }
    switch self {
    case .null: return "null"
    case .bool(let value): return value ? "true" : "false"
    case .number(let value):
      guard value.isFinite else { return "null" }
      return value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : "\(value)"
    case .string(let text): return Self.quoted(text)
    case .array(let all): return list("[", all.map { $0.text(inner) }, "]")
    case .object(let all):
      return list("{", all.map { "\(Self.quoted($0.0)): \($0.1.text(inner))" }, "}")
    }
  }

  private static func quoted(_ text: String) -> String {
    var out = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\t": out += "\\t"
      default:
        if scalar.value < 0x20 {
          let digits = String(scalar.value, radix: 16)
          out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        } else {
          out.unicodeScalars.append(scalar)
        }
      }
    }
    return out + "\""
  }

  /// Nil for text that is no JSON, or nested deeper than 64.
  package init?(parsing bytes: [UInt8]) {
    var parser = Parser(bytes: bytes)
    guard let value = parser.value(depth: 0), parser.isAtEnd else { return nil }
    self = value
  }

  private struct Parser {
    let bytes: [UInt8]
    var at = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func skip() {
      while at < bytes.count, [32, 9, 10, 13].contains(bytes[at]) { at += 1 }
    }

    var isAtEnd: Bool {
      mutating get {
        skip()
        return at == bytes.count
      }
    }

    mutating func take(_ text: StaticString) -> Bool {
      skip()
      let wanted = Array(text.description.utf8)
      guard bytes[at...].starts(with: wanted) else { return false }
      at += wanted.count
      return true
    }

    mutating func value(depth: Int) -> JSONValue? {
      guard depth < 64 else { return nil }
      if take("{") {
        var members: [(String, JSONValue)] = []
        if take("}") { return .object(members) }
        repeat {
          guard case .string(let key)? = string(), take(":"), let value = value(depth: depth + 1)
          else { return nil }
          members.append((key, value))
        } while take(",")
        return take("}") ? .object(members) : nil
      }
      if take("[") {
        var all: [JSONValue] = []
        if take("]") { return .array(all) }
        repeat {
          guard let value = value(depth: depth + 1) else { return nil }
          all.append(value)
        } while take(",")
        return take("]") ? .array(all) : nil
      }
      if take("null") { return .null }
      if take("true") { return .bool(true) }
      if take("false") { return .bool(false) }
      if let text = string() { return text }
      let digits = bytes[at...].prefix { "+-.eE0123456789".utf8.contains($0) }
      guard let number = Double(String(decoding: digits, as: UTF8.self)) else { return nil }
      at += digits.count
      return .number(number)
    }

    private mutating func string() -> JSONValue? {
      guard take("\"") else { return nil }
      var out: [UInt8] = []
      while at < bytes.count {
        let byte = bytes[at]
        at += 1
        if byte == UInt8(ascii: "\"") { return .string(String(decoding: out, as: UTF8.self)) }
        guard byte == UInt8(ascii: "\\"), at < bytes.count else {
          out.append(byte)
          continue
        }
        let escape = bytes[at]
        at += 1
        switch escape {
        case UInt8(ascii: "n"): out.append(10)
        case UInt8(ascii: "t"): out.append(9)
        case UInt8(ascii: "r"): out.append(13)
        case UInt8(ascii: "u"):
          guard at + 4 <= bytes.count,
            let code = UInt32(String(decoding: bytes[at..<at + 4], as: UTF8.self), radix: 16)
          else { return nil }
          at += 4
          out += Array(String(Unicode.Scalar(code).map(Character.init) ?? "?").utf8)
        default: out.append(escape)
        }
      }
      return nil
    }
  }
}
