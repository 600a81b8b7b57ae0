/// A field of a hello or an answer (docs/LINK.md section 2): a name and a value that only those who
/// know the name understand.
struct LinkField {
  /// Of the flags: who does not know the field refuses the frame. The other bits are not looked at.
  static let critical: UInt8 = 1

  /// 1 to 255 printable bytes.
  var name: String
  var isCritical: Bool
  /// At most 65535 bytes.
  var value: [UInt8]
  /// Where the field begins on its connection; 0 in a field that is to be encoded.
  var start: UInt64 = 0

  /// A field to be encoded.
  init(_ name: String, isCritical: Bool = true, _ value: [UInt8]) {
    self.name = name
    self.isCritical = isCritical
    self.value = value
  }

  /// Takes a field from a whole frame. `offset` is where the frame begins.
  init(from cursor: inout Cursor, at offset: UInt64) throws(WireError) {
    start = offset + UInt64(cursor.offset)
    guard let nameSize = cursor.u8(), let flags = cursor.u8(), let valueSize = cursor.u16() else {
      throw WireError(.badLength, at: start, "the body ends inside a field's head")
    }
    guard nameSize > 0 else {
      throw WireError(.badLength, at: start, "the name of a field is empty")
    }
    guard let name = cursor.bytes(Int(nameSize)) else {
      throw WireError(.badLength, at: start, "a field's name goes beyond the body")
    }
    guard name.isPrintable else {
      throw WireError(.badName, at: start + 4, "the name of a field has unprintable bytes")
    }
    guard let value = cursor.bytes(Int(valueSize)) else {
      throw WireError(
        .badLength, at: start + 2, "the value of field \(name.text) goes beyond the body")
    }
    self.name = name.text
    isCritical = flags & Self.critical != 0
    self.value = Array(value)
  }

  /// Where the value begins on its connection.
  var valueOffset: UInt64 { start + 4 + UInt64(name.utf8.count) }

  /// The value as one big-endian number; the caller has compared its size with at most 8.
  var number: UInt64 { value.reduce(0) { $0 << 8 | UInt64($1) } }

  func check(_ sizes: ClosedRange<Int>) throws(WireError) {
    guard sizes.contains(value.count) else {
      let (least, most) = (sizes.lowerBound, sizes.upperBound)
      throw WireError(
        .badLength, at: start + 2,
        "the field \(name) has \(least == most ? "\(most)" : "\(least) to \(most)") bytes, found \(value.count)"
      )
    }
  }

  func encode() -> [UInt8] {
    var bytes = [UInt8(name.utf8.count), isCritical ? Self.critical : 0]
    bytes.append(bigEndian: UInt16(value.count))
    return bytes + Array(name.utf8) + value
  }
}
