/// What a child tells its parent, one line each: a word, then fields between tabs.
enum ReportLine: Equatable {
  /// The library is open.
  case backend(name: String, version: String, wireFormat: String)
  /// A rule is broken.
  case finding(owner: String, message: String)
  /// A signal ends the process; the owner is empty for the test itself.
  case crash(owner: String, message: String)
  case metric(name: String, value: Double, unit: String)
  case text(String)
  case skipped(String)
  /// The same of one that could have run.
  case missed(String)
  /// The test ends early, because of a breach that has been reported.
  case stopped
  /// The test has run to its end.
  case done

  init?(_ line: String) {
    let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(Self.unescape)
    switch (fields[0], fields.count) {
    case ("backend", 4):
      self = .backend(name: fields[1], version: fields[2], wireFormat: fields[3])
    case ("finding", 3): self = .finding(owner: fields[1], message: fields[2])
    case ("crash", 3): self = .crash(owner: fields[1], message: fields[2])
    case ("metric", 4):
      guard let value = Double(fields[2]) else { return nil }
      self = .metric(name: fields[1], value: value, unit: fields[3])
    case ("text", 2): self = .text(fields[1])
    case ("skipped", 2): self = .skipped(fields[1])
    case ("missed", 2): self = .missed(fields[1])
    case ("stopped", 1): self = .stopped
    case ("done", 1): self = .done
    default: return nil
    }
  }

  /// The line, without its end.
  var text: String {
    let fields: [String]
    switch self {
    case .backend(let name, let version, let format): fields = ["backend", name, version, format]
    case .finding(let owner, let message): fields = ["finding", owner, message]
    case .crash(let owner, let message): fields = ["crash", owner, message]
    case .metric(let name, let value, let unit): fields = ["metric", name, "\(value)", unit]
    case .text(let text): fields = ["text", text]
    case .skipped(let reason): fields = ["skipped", reason]
    case .missed(let reason): fields = ["missed", reason]
    case .stopped: fields = ["stopped"]
    case .done: fields = ["done"]
    }
    return fields.map(Self.escape).joined(separator: "\t")
  }

  private static func escape(_ field: String) -> String {
    var out = ""
    for scalar in field.unicodeScalars {
      switch scalar {
      case "\t": out += "\\t"
      case "\n": out += "\\n"
      case "\\": out += "\\\\"
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out
  }

  private static func unescape(_ field: Substring) -> String {
    var out = ""
    var escaped = false
    for scalar in field.unicodeScalars {
      if escaped {
        out.unicodeScalars.append(scalar == "t" ? "\t" : scalar == "n" ? "\n" : scalar)
        escaped = false
      } else if scalar == "\\" {
        escaped = true
      } else {
        out.unicodeScalars.append(scalar)
      }
    }
    return out
  }
}
