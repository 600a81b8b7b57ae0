// Small text helpers: names that are meant, and foreign text made fit for a terminal.

/// The name that was most likely meant: at most a third of its letters (and at least one) may
/// differ.
func nearestName(to typed: String, among names: [String]) -> String? {
  var best: (name: String, distance: Int)?
  for name in names {
    let distance = editDistance(Array(typed.utf8.prefix(64)), Array(name.utf8.prefix(64)))
    if distance < best?.distance ?? Int.max { best = (name, distance) }
  }
  guard let best, best.distance <= max(1, best.name.utf8.count / 3) else { return nil }
  return best.name
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
private func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
  var before = [Int](), last = Array(0...b.count)
  for i in a.indices {
    var row = [i + 1]
    for j in b.indices {
      var cost = min(last[j] + (a[i] == b[j] ? 0 : 1), last[j + 1] + 1, row[j] + 1)
      if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, before[j - 1] + 1) }
      row.append(cost)
    }
    before = last
    last = row
  }
  return last[b.count]
}

/// Foreign bytes as one short line: control characters become spaces, so that a backend or a file
/// name can neither break a log line nor drive a terminal.
func oneLine(_ text: String, limit: Int = 300) -> String {
  var line = ""
  var length = 0
  for scalar in text.unicodeScalars {
    if length == limit { return line + "…" }
    line.unicodeScalars.append(isControl(scalar) ? " " : scalar)
    length += 1
  }
  while line.last == " " { line.removeLast() }
  return line
}

/// The same text, with escapes (`\x1b`, `\u{202e}`) for what would drive a terminal or break a line:
/// names of files and folders are anybody's, and are otherwise shown as they are.
package func shown(_ text: String) -> String {
  guard text.unicodeScalars.contains(where: isControl) else { return text }
  var shown = ""
  for scalar in text.unicodeScalars {
    let digits = String(scalar.value, radix: 16)
    if !isControl(scalar) {
      shown.unicodeScalars.append(scalar)
    } else if scalar.isASCII {
      shown += "\\x" + (digits.count < 2 ? "0" : "") + digits
    } else {
      shown += "\\u{\(digits)}"
    }
  }
  return shown
}

func isControl(_ scalar: Unicode.Scalar) -> Bool {
  switch scalar.properties.generalCategory {
  case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse: true
  default: false
  }
}

/// Foreign text between quotes.
func quoted(_ text: String) -> String { "'\(oneLine(text, limit: 80))'" }

/// A number of bytes as an operator would write it: the largest of K, M, G that divides it.
func sizeText(_ bytes: Int64) -> String {
  for (unit, letter) in [(Int64(1) << 30, "G"), (1 << 20, "M"), (1 << 10, "K")]
  where bytes != 0 && bytes % unit == 0 {
    return "\(bytes / unit)\(letter)"
  }
  return String(bytes)
}

/// `[a-z0-9][a-z0-9_-]{0,30}`: what a backend may be called.
func isBackendName(_ name: some Collection<UInt8>) -> Bool {
  guard let first = name.first, name.count <= 31, isLowerOrDigit(first) else { return false }
  return name.allSatisfy {
    isLowerOrDigit($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
  }
}

/// `NAME/N`, N a number from 1 without leading zeros.
func isWireFormat(_ text: String) -> Bool {
  let parts = text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
  guard parts.count == 2, isBackendName(parts[0]), (1...4).contains(parts[1].count) else {
    return false
  }
  return parts[1].allSatisfy(isDigit) && parts[1].first != UInt8(ascii: "0")
}

/// `[a-z][a-z0-9-]*`, at most 31 letters: what an option may be called.
func isOptionName(_ text: String) -> Bool {
  guard let first = text.utf8.first, isLowerOrDigit(first), !isDigit(first) else { return false }
  return text.utf8.count <= 31
    && text.utf8.allSatisfy { isLowerOrDigit($0) || $0 == UInt8(ascii: "-") }
}

private func isDigit(_ byte: UInt8) -> Bool {
  (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
}

private func isLowerOrDigit(_ byte: UInt8) -> Bool {
  isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
}
