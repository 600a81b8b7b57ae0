/// Reads JSON in one pass without building a tree: memory does not depend on what the peer sends,
/// and nesting is bounded. Values that nobody asks for are skipped by their brackets and quotes
/// alone.
struct JSONReader {
  let bytes: UnsafeRawBufferPointer
  /// Where `bytes` begin in their stream, for errors.
  let position: UInt64
  private(set) var offset = 0

  init(_ bytes: UnsafeRawBufferPointer, at position: UInt64) {
    self.bytes = bytes
    self.position = position
  }

  func wrong(_ expected: String) -> WireError {
    let found = offset < bytes.count ? hex(bytes[offset]) : "the end"
    return WireError(
      .badDescription, at: position + UInt64(offset),
      "VM description: expected \(expected), found \(found)")
  }

  /// The next byte that is not white space; nil at the end.
  mutating func peek() -> UInt8? {
    while offset < bytes.count {
      switch bytes[offset] {
      case 0x20, 0x09, 0x0a, 0x0d: offset += 1
      default: return bytes[offset]
      }
    }
    return nil
  }

  /// Takes `byte` if it is the next.
  mutating func take(_ byte: Unicode.Scalar) -> Bool {
    guard peek() == UInt8(ascii: byte) else { return false }
    offset += 1
    return true
  }

  /// Calls `member` with each key; it must read or skip the value.
  mutating func object(
    _ member: (inout JSONReader, String) throws(WireError) -> Void
  ) throws(WireError) {
    guard take("{") else { throw wrong("an object") }
    if take("}") { return }
    repeat {
      let key = try string()
      guard take(":") else { throw wrong("a colon") }
      try member(&self, key)
    } while take(",")
    guard take("}") else { throw wrong("the end of an object") }
  }

  /// Calls `element` for each element; it must read or skip it.
  mutating func array(
    _ element: (inout JSONReader) throws(WireError) -> Void
  ) throws(WireError) {
    guard take("[") else { throw wrong("an array") }
    if take("]") { return }
    repeat { try element(&self) } while take(",")
    guard take("]") else { throw wrong("the end of an array") }
  }

  /// A string. Names have no escapes other than of the quote and the backslash: others are refused.
  mutating func string() throws(WireError) -> String {
    guard take("\"") else { throw wrong("a string") }
    let start = offset
    var escaped = false
    while offset < bytes.count, bytes[offset] != UInt8(ascii: "\"") {
      if bytes[offset] == UInt8(ascii: "\\") {
        escaped = true
        offset += 1
        guard offset < bytes.count, "\"\\/".utf8.contains(bytes[offset]) else {
          throw wrong("an escape of a quote or backslash")
        }
      }
      offset += 1
    }
    guard offset < bytes.count else { throw wrong("the end of a string") }
    let body = bytes.part(start..<offset)
    offset += 1
    guard escaped else { return body.text }
    var plain: [UInt8] = []
    var isEscape = false
    for byte in body {
      if byte == UInt8(ascii: "\\") && !isEscape {
        isEscape = true
      } else {
        plain.append(byte)
        isEscape = false
      }
    }
    return String(decoding: plain, as: UTF8.self)
  }

  /// A number without sign, fraction and exponent.
  mutating func unsigned() throws(WireError) -> UInt64 {
    var value: UInt64 = 0
    guard let first = peek(), first >= 0x30, first <= 0x39 else { throw wrong("a number") }
    while offset < bytes.count, bytes[offset] >= 0x30, bytes[offset] <= 0x39 {
      let (product, over) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(UInt64(bytes[offset] - 0x30))
      guard !over, !carry else { throw wrong("a number below 2^64") }
      value = sum
      offset += 1
    }
    return value
  }

  /// Skips any value, without recursion.
  mutating func skip() throws(WireError) {
    var depth = 0
    repeat {
      guard let byte = peek() else { throw wrong("a value") }
      switch byte {
      case UInt8(ascii: "\""): try skipString()
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        depth += 1
        offset += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        depth -= 1
        offset += 1
        guard depth >= 0 else {
          offset -= 1
          throw wrong("a value")
        }
      case UInt8(ascii: ","), UInt8(ascii: ":"):
        guard depth > 0 else { throw wrong("a value") }
        offset += 1
      default: skipScalar()
      }
    } while depth > 0
  }

  /// A number or word: up to the next mark. It takes one byte at least.
  private mutating func skipScalar() {
    repeat {
      offset += 1
    } while offset < bytes.count && !",:{}[]\" \t\r\n".utf8.contains(bytes[offset])
  }

  private mutating func skipString() throws(WireError) {
    offset += 1
    while offset < bytes.count {
      switch bytes[offset] {
      case UInt8(ascii: "\""):
        offset += 1
        return
      case UInt8(ascii: "\\"): offset += 2
      default: offset += 1
      }
    }
    offset = bytes.count
    throw wrong("the end of a string")
  }
}
