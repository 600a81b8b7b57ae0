import Foundation

/// The string literals of Swift sources, as far as they are messages.
struct Literals {
  /// One, with those that a `+` adds to it.
  struct Literal {
    /// What it says between its interpolations.
    let parts: [String]
    /// Where it begins and ends, in bytes.
    let range: Range<Int>
    /// How many letters are its own.
    let letters: Int

    init(parts: [String], range: Range<Int>) {
      (self.parts, self.range) = (parts, range)
      letters = parts.reduce(0) { $0 + $1.count { $0.isLetter } }
    }

    /// Whether a text says this, with something in the place of each interpolation.
    func isSaid(in text: String) -> Bool {
      var rest = text[...]
      for part in parts where !part.isEmpty {
        guard let found = rest.range(of: part) else { return false }
        rest = rest[found.upperBound...]
      }
      return true
    }
  }

  private let bytes: [UInt8]
  private(set) var all: [Literal] = []

  init(_ source: String) {
    bytes = Array(source.utf8)
    var index = 0
    while index < bytes.count {
      if starts("//", at: index) {
        while index < bytes.count, bytes[index] != UInt8(ascii: "\n") { index += 1 }
      } else if bytes[index] == UInt8(ascii: "\"") {
        add(literal(at: &index))
      } else {
        index += 1
      }
    }
  }

  /// What stands before a literal, as far as it matters.
  func context(of literal: Literal) -> String {
    let start = literal.range.lowerBound
    return String(decoding: bytes[max(0, start - 400)..<start], as: UTF8.self)
  }

  private func starts(_ word: String, at index: Int) -> Bool {
    bytes[index...].starts(with: word.utf8)
  }

  /// The first quote is at `index`, which ends behind the last.
  private func literal(at index: inout Int) -> Literal {
    let start = index
    let quote = starts("\"\"\"", at: index) ? "\"\"\"" : "\""
    var (parts, part): ([String], [UInt8]) = ([], [])
    index += quote.utf8.count
    while !starts(quote, at: index) {
      if starts("\\(", at: index) {
        parts.append(String(decoding: part, as: UTF8.self))
        part = []
        index = behindParenthesis(index + 2)
      } else if starts("\\\n", at: index) {
        index += 2
        while bytes[index] == UInt8(ascii: " ") { index += 1 }
      } else {
        if bytes[index] == UInt8(ascii: "\\") { index += 1 }
        part.append(bytes[index])
        index += 1
      }
    }
    index += quote.utf8.count
    parts.append(String(decoding: part, as: UTF8.self))
    return Literal(parts: parts, range: start..<index)
  }

  private func behindParenthesis(_ start: Int) -> Int {
    var (index, depth) = (start, 1)
    while depth > 0 {
      switch bytes[index] {
      case UInt8(ascii: "\""):
        _ = literal(at: &index)
        continue
      case UInt8(ascii: "("): depth += 1
      case UInt8(ascii: ")"): depth -= 1
      default: break
      }
      index += 1
    }
    return index
  }

  private mutating func add(_ next: Literal) {
    if let last = all.last {
      let between = bytes[last.range.upperBound..<next.range.lowerBound]
      let words = String(decoding: between, as: UTF8.self).filter { !$0.isWhitespace }
      if words == "+" {
        all.removeLast()
        let joined = (last.parts.last ?? "") + next.parts[0]
        all.append(
          Literal(
            parts: last.parts.dropLast() + [joined] + next.parts.dropFirst(),
            range: last.range.lowerBound..<next.range.upperBound))
        return
      }
    }
    all.append(next)
  }
}
