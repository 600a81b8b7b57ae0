import Foundation

/// A JSON value, as commands to a monitor and its answers are made of.
package enum QMPValue: Sendable, Equatable {
  /// null, or something that is not there.
  case null
  /// true or false.
  case bool(Bool)
  /// A whole number.
  case integer(Int64)
  /// Any other number: those above 2^63, too.
  case number(Double)
  /// A string.
  case string(String)
  /// A list.
  case array([QMPValue])
  /// An object.
  case object([String: QMPValue])

  /// Parses one JSON text; nil where it is none.
  package init?(parsing bytes: some Sequence<UInt8>) {
    guard let value = try? JSONDecoder().decode(QMPValue.self, from: Data(bytes)) else {
      return nil
    }
    self = value
  }

  /// A value of Foundation's JSON; null where it is none.
  package init(_ object: Any) {
    let data = try? JSONSerialization.data(withJSONObject: object, options: .fragmentsAllowed)
    self = data.flatMap { QMPValue(parsing: $0) } ?? .null
  }

  /// The member `key`; null where there is none.
  package subscript(key: String) -> QMPValue {
    if case .object(let members) = self { members[key] ?? .null } else { .null }
  }

  /// The string, where it is one.
  package var string: String? { if case .string(let value) = self { value } else { nil } }

  /// The whole number, where it is one.
  package var int: Int? { if case .integer(let value) = self { Int(value) } else { nil } }

  /// The truth value, where it is one.
  package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }

  /// The elements of a list; none of anything else.
  package var elements: [QMPValue] { if case .array(let value) = self { value } else { [] } }

  /// The names of an object's members.
  package var keys: Set<String> {
    if case .object(let members) = self { Set(members.keys) } else { [] }
  }

  /// One line of JSON, without its end, keys in order.
  package var text: String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // Numbers that JSON has not (infinity) are nobody's here.
    return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? "null"
  }
}

extension QMPValue: Codable {
  /// Takes the first kind that fits.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Int64.self) {
      self = .integer(value)
    } else if let value = try? container.decode(Double.self) {
      self = .number(value)
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([QMPValue].self) {
      self = .array(value)
    } else {
      self = .object(try container.decode([String: QMPValue].self))
    }
  }

  /// Writes the value as itself.
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .null: try container.encodeNil()
    case .bool(let value): try container.encode(value)
    case .integer(let value): try container.encode(value)
    case .number(let value): try container.encode(value)
    case .string(let value): try container.encode(value)
    case .array(let value): try container.encode(value)
    case .object(let value): try container.encode(value)
    }
  }
}

extension QMPValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
  ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  /// A string.
  package init(stringLiteral value: String) { self = .string(value) }
  /// A whole number.
  package init(integerLiteral value: Int64) { self = .integer(value) }
  /// A truth value.
  package init(booleanLiteral value: Bool) { self = .bool(value) }
  /// A list.
  package init(arrayLiteral elements: QMPValue...) { self = .array(elements) }
  /// An object; of equal keys the last one counts.
  package init(dictionaryLiteral elements: (String, QMPValue)...) {
    self = .object(Dictionary(elements) { $1 })
  }
}

extension QMPValue {
  /// What a value encodes to; null where that cannot be.
  package init(encoding value: some Encodable) {
    self = (try? JSONEncoder().encode(value)).flatMap { QMPValue(parsing: $0) } ?? .null
  }

  /// Decodes a value; nil where this is none.
  package func decoded<Value: Decodable>(_ type: Value.Type = Value.self) -> Value? {
    try? JSONDecoder().decode(type, from: Data(text.utf8))
  }
}
