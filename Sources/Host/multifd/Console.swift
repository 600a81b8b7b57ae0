import Foundation

/// What the program says: results on stdout, everything else on stderr.
enum Console {
  /// One line, and a hint where there is one.
  static func error(_ what: String, _ why: String, hint: String?) {
    note("error: \(what): \(why)")
    if let hint { say("hint: \(hint)") }
  }

  /// `multifd: TEXT`.
  static func note(_ text: String) { say("multifd: \(text)") }

  /// A line on stderr.
  static func say(_ line: String) { FileHandle.standardError.write(Data((line + "\n").utf8)) }

  /// One JSON object on stdout.
  static func json(_ value: some Encodable) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(value) else { return }
    print(String(decoding: data, as: UTF8.self))
  }

  /// Bytes as people write them: `1.5 GiB`.
  static func bytes(_ count: UInt64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"]
    var value = Double(count)
    var unit = 0
    while value >= 1024, unit < units.count - 1 {
      value /= 1024
      unit += 1
    }
    return unit == 0 ? "\(count) B" : String(format: "%.1f %@", value, units[unit])
  }

  /// Milliseconds as people write them.
  static func time(_ milliseconds: Double) -> String {
    milliseconds < 1000
      ? String(format: "%.0f ms", milliseconds) : String(format: "%.2f s", milliseconds / 1000)
  }
}
