import PluginAPI

/// One option of a backend: what an operator may set, checked by the host.
public struct BackendOption: Sendable, Equatable {
  /// What kind of value it takes, with its limits.
  public enum Kind: Sendable, Equatable {
    /// on or off.
    case bool
    /// A decimal integer.
    case int(ClosedRange<Int64>)
    /// Bytes, with an optional K, M or G.
    case size(ClosedRange<Int64>)
    /// One of some names.
    case choice([String])
    /// Text without commas, of a length in bytes.
    case string(ClosedRange<Int64>)
    /// A file, of a length in bytes, or none.
    case file(ClosedRange<Int64>)

    /// The word for it: bool, int, size, enum, string, file.
    public var name: String {
      switch self {
      case .bool: "bool"
      case .int: "int"
      case .size: "size"
      case .choice: "enum"
      case .string: "string"
      case .file: "file"
      }
    }

    /// What is allowed, as help and errors show it: `1…22`, `on|off`, `endless|packet`.
    public var range: String {
      switch self {
      case .bool: "on|off"
      case .int(let range): "\(range.lowerBound)…\(range.upperBound)"
      case .size(let range): "\(sizeText(range.lowerBound))…\(sizeText(range.upperBound))"
      case .choice(let names): names.joined(separator: "|")
      case .string(let range): "\(range.lowerBound)…\(range.upperBound) bytes"
      case .file(let range):
        "a file of \(sizeText(range.lowerBound))…\(sizeText(range.upperBound)) bytes"
      }
    }
  }

  /// What an operator writes before the `=`.
  public let name: String
  /// One line, without a full stop.
  public let help: String
  /// The default, as an operator would write it.
  public let defaultValue: String
  /// Type and limits.
  public let kind: Kind

  /// A value as MultiFDOptionValue has it.
  struct Value: Equatable {
    let number: Int64
    let text: String
    /// The file that it is; of other kinds, and where there is none, the text is all there is.
    var file: OptionFile?
  }

  /// The value of what an operator wrote; an error's text says what is allowed instead.
  func parse(_ text: String) -> Result<Value, Wrong> {
    switch kind {
    case .bool:
      switch text {
      case "on", "yes", "true": return .success(Value(number: 1, text: text))
      case "off", "no", "false": return .success(Value(number: 0, text: text))
      default: return .failure(Wrong("must be on or off, not \(quoted(text))"))
      }
    case .int(let range):
      guard let number = decimal(text) else {
        return .failure(Wrong("must be an integer \(kind.range), not \(quoted(text))"))
      }
      return within(range, number, text)
    case .size(let range):
      guard let number = size(text) else {
        return .failure(Wrong("must be a size \(kind.range) (K, M, G), not \(quoted(text))"))
      }
      return within(range, number, text)
    case .choice(let names):
      if let index = names.firstIndex(of: text) {
        return .success(Value(number: Int64(index), text: text))
      }
      let nearest = nearestName(to: text, among: names)
      return .failure(
        Wrong(
          "must be one of \(names.joined(separator: ", ")), not \(quoted(text))",
          hint: nearest.map { "did you mean \(name)=\($0)?" }))
    case .string(let range):
      guard !text.unicodeScalars.contains(where: { isControl($0) || $0 == "," }) else {
        return .failure(Wrong("must be text without commas and control characters"))
      }
      let length = Int64(text.utf8.count)
      guard range.contains(length) else {
        return .failure(Wrong("must have \(kind.range), not \(length)"))
      }
      return .success(Value(number: length, text: text))
    case .file:
      if text.isEmpty { return .success(Value(number: 0, text: text)) }
      switch OptionFile.read(text) {
      case .success(let bytes):
        return value(of: OptionFile(option: name, contents: bytes), called: text)
      case .failure(let error): return .failure(Wrong("\(quoted(text)): \(error.why)"))
      }
    }
  }

  /// The value of a file option whose file is here.
  func value(of file: OptionFile, called text: String) -> Result<Value, Wrong> {
    guard case .file(let range) = kind else { return .failure(Wrong("takes no file")) }
    let length = Int64(file.contents.count)
    guard range.contains(length) else {
      return .failure(Wrong("must be \(kind.range), \(quoted(text)) has \(length)"))
    }
    return .success(Value(number: length, text: text, file: file))
  }

  /// What is wrong with a value.
  struct Wrong: Error {
    let why: String
    let hint: String?

    init(_ why: String, hint: String? = nil) {
      self.why = why
      self.hint = hint
    }
  }

  private func within(
    _ range: ClosedRange<Int64>, _ number: Int64, _ text: String
  ) -> Result<Value, Wrong> {
    guard range.contains(number) else {
      return .failure(Wrong("must be \(kind.range), not \(quoted(text))"))
    }
    return .success(Value(number: number, text: text))
  }

  /// Digits, perhaps with a minus; nothing else, and no overflow.
  private func decimal(_ text: String) -> Int64? {
    text.utf8.first == UInt8(ascii: "+") ? nil : Int64(text)
  }

  private func size(_ text: String) -> Int64? {
    var digits = Substring(text)
    var unit: Int64 = 1
    switch digits.last {
    case "K", "k": unit = 1 << 10
    case "M", "m": unit = 1 << 20
    case "G", "g": unit = 1 << 30
    default: break
    }
    if unit != 1 { digits.removeLast() }
    guard let number = decimal(String(digits)), number >= 0 else { return nil }
    let (bytes, overflow) = number.multipliedReportingOverflow(by: unit)
    return overflow ? nil : bytes
  }
}
