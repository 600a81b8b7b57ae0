// What the command line says about backends, as text. Here and not in the command, so that it is
// the same in `plugins show`, in `--compression NAME --help` and in whatever else links the loader.

extension BackendProfile {
  /// The backend's own options, for `--compression NAME --help`; lines of at most `width` columns
  /// where words allow it.
  public func optionsHelp(width: Int) -> String {
    var lines = ["\(name) \(version): \(description)", ""]
    if options.isEmpty {
      lines.append("\(name) has no options.")
      return lines.joined(separator: "\n")
    }
    lines.append(
      "Options, as in --compression \(name),\(options[0].name)=\(options[0].defaultValue):")
    let rows = options.map { option in
      [
        "\(option.name)=\(option.shownRange)",
        "\(option.shownHelp) (\(option.kind.name), default \(option.shownDefault))",
      ]
    }
    lines.append(textTable(rows, width: width, indent: 2))
    return lines.joined(separator: "\n")
  }

  /// The options as a table with a heading: name, type, range, default, help.
  public func optionsTable(width: Int) -> String {
    let heading = ["OPTION", "TYPE", "RANGE", "DEFAULT", "HELP"]
    let rows = options.map {
      [$0.name, $0.kind.name, $0.shownRange, $0.shownDefault, $0.shownHelp]
    }
    return textTable([heading] + rows, width: width)
  }

  /// Every fact as key and value, in a fixed order and with keys that stay as they are: the form
  /// for scripts. Lists are separated by commas; ends of a range are plain numbers.
  public var facts: [(key: String, value: String)] {
    var facts: [(key: String, value: String)] = [
      ("name", name), ("version", version), ("description", description),
      ("wire_format", wireFormat), ("qemu_method", qemuMethodName), ("abi", abiVersion.description),
      ("capabilities", capabilities.description),
      ("payload_bound", packetBound.map(String.init) ?? ""),
      ("path", path), ("options", options.map(\.name).joined(separator: ",")),
    ]
    for option in options {
      let key = "option.\(option.name)"
      facts.append(("\(key).type", option.kind.name))
      if let range = option.kind.limits {
        facts.append(("\(key).minimum", String(range.lowerBound)))
        facts.append(("\(key).maximum", String(range.upperBound)))
      }
      if case .choice(let names) = option.kind {
        facts.append(("\(key).choices", names.joined(separator: ",")))
      }
      facts.append(("\(key).default", option.defaultValue))
      facts.append(("\(key).help", option.help))
    }
    return facts
  }

  /// QEMU's word for the method (`none`, `zlib`, …), `unknown` for a format that it has not.
  public var qemuMethodName: String {
    qemuMethod.flatMap(QEMUMethod.init(rawValue:))?.name ?? "unknown"
  }

  /// Whether the backend's version is `version` or later, number by number (`1.10` is later than
  /// `1.9`); nil when one of the two does not start with a number.
  public func isAtLeast(_ version: String) -> Bool? {
    guard let own = numbers(of: self.version), let wanted = numbers(of: version) else { return nil }
    for index in 0..<max(own.count, wanted.count) {
      let a = index < own.count ? own[index] : 0, b = index < wanted.count ? wanted[index] : 0
      if a != b { return a > b }
    }
    return true
  }

  /// The numbers of `1.2.3`, up to the first part that does not start with one; `1.2.3-rc1` counts
  /// as 1.2.3.
  private func numbers(of version: String) -> [UInt64]? {
    var numbers: [UInt64] = []
    for part in version.split(separator: ".", omittingEmptySubsequences: false) {
      let digits = part.prefix { $0.isASCII && $0.isNumber }
      guard let number = UInt64(digits) else { break }
      numbers.append(number)
      if digits.count < part.count { break }
    }
    return numbers.isEmpty ? nil : numbers
  }
}

extension BackendOption {
  var shownDefault: String { defaultValue.isEmpty ? "''" : defaultValue }

  /// Many choices would make a column that leaves no room for help: they go into the help then.
  var shownRange: String { longChoices.map { "\($0.count) choices" } ?? kind.range }
  var shownHelp: String { longChoices.map { "\(help): \($0.joined(separator: ", "))" } ?? help }

  private var longChoices: [String]? {
    if case .choice(let names) = kind, kind.range.count > 40 { names } else { nil }
  }
}

extension BackendOption.Kind {
  /// Both ends of what is allowed; nil for bool and enum.
  public var limits: ClosedRange<Int64>? {
    switch self {
    case .int(let range), .size(let range), .string(let range), .file(let range): range
    case .bool, .choice: nil
    }
  }
}

/// Rows with aligned columns, two spaces apart; the last column is broken at words to keep within
/// `width`.
package func textTable(_ rows: [[String]], width: Int, indent: Int = 0) -> String {
  let columns = rows.map(\.count).max() ?? 0
  guard columns > 0 else { return "" }
  let widths = (0..<columns).map { column in
    rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
  }
  let margin = String(repeating: " ", count: indent)
  let lead = indent + widths.dropLast().reduce(0) { $0 + $1 + 2 }
  var lines: [String] = []
  for row in rows {
    var line = margin
    for (column, cell) in row.dropLast().enumerated() {
      line += cell + String(repeating: " ", count: widths[column] - cell.count + 2)
    }
    // A narrow terminal still gets some words a line.
    for (number, text) in wrapped(row.last ?? "", width: max(24, width - lead)).enumerated() {
      lines.append((number == 0 ? line : String(repeating: " ", count: lead)) + text)
    }
  }
  return lines.joined(separator: "\n")
}

/// Text broken at spaces; a word that is longer than a line gets a line of its own.
private func wrapped(_ text: String, width: Int) -> [String] {
  var lines = [""]
  for word in text.split(separator: " ") {
    let last = lines[lines.count - 1]
    if last.isEmpty {
      lines[lines.count - 1] = String(word)
    } else if last.count + 1 + word.count <= width {
      lines[lines.count - 1] += " " + word
    } else {
      lines.append(String(word))
    }
  }
  return lines
}
