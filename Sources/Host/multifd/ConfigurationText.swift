import ArgumentParser
import Foundation
import TOML

/// `--print-config`.
extension Configuration {
  /// All options of the role, each with what it is and where that is from, as a file that can be
  /// given back.
  var text: String {
    guard let role else { return "" }
    var lines = [
      "# multifd \(role._commandName): what each option is, and where it is from",
      "\(ConfigFile.roleKey) = \(TOML.Value.string(role._commandName).toml)",
    ]
    for option in options {
      if let (value, origin) = value(of: option) {
        // It counts, and cannot be given back.
        let hidden = Self.onceOnly.contains(option.name) && value != .boolean(false) ? "# " : ""
        if hidden.isEmpty, Self.onceOnly.contains(option.name) { continue }
        lines.append("\(hidden)\(option.name) = \(value.toml)  # \(Self.line(origin))")
      } else if option.isShown {
        lines.append("# \(option.name): not given")
      }
    }
    return lines.joined(separator: "\n")
  }

  private func value(of option: CommandOption) -> (TOML.Value, String)? {
    if let (value, place) = entry(of: option) { return (value, place) }
    if let value = ownValue(of: option) { return (value, "command line") }
    if let standard = option.standard { return (Self.plain(standard), "default") }
    return option.kind == .flag ? (.boolean(false), "default") : nil
  }

  private func ownValue(of option: CommandOption) -> TOML.Value? {
    if option.kind == .rest { return own.rest.map { .array($0.map(TOML.Value.string)) } }
    guard let last = own.words.last(where: option.isGiven) else { return nil }
    switch option.kind {
    case .flag, .choice: return .boolean(last == "--\(option.name)")
    case .value: return given(option).last.map(Self.plain)
    default: return .array(given(option).map(TOML.Value.string))
    }
  }

  /// The values of an option, written as `--option value` or `--option=value`.
  private func given(_ option: CommandOption) -> [String] {
    zip(own.words, own.words.dropFirst() + [""]).compactMap { word, next in
      guard option.isGiven(by: word) else { return nil }
      return word == "--\(option.name)" ? next : String(word.dropFirst(option.name.utf8.count + 3))
    }
  }

  /// A number without quotes, if it is one that is written so.
  private static func plain(_ text: String) -> TOML.Value {
    if let number = Int(text), "\(number)" == text { return .integer(number) }
    if let number = Double(text), "\(number)" == text, text.contains("."), number.isFinite {
      return .float(number)
    }
    return .string(text)
  }

  /// On one line, whatever a file is called.
  private static func line(_ text: String) -> String {
    String(
      String.UnicodeScalarView(
        text.unicodeScalars.map { $0.value < 0x20 || (0x7f...0x9f).contains($0.value) ? "?" : $0 }))
  }
}
