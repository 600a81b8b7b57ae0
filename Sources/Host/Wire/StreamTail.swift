/// Whether a main channel that nobody decodes ends as the stream of a migration does: with the VM
/// description, or, of a source that sends none, with the last section's footer and the EOF byte.
///
///     ... 7e ID 00 | 06 SIZE { ... }
///
/// It looks for where a description may begin, and remembers where that one would end: a page can
/// look so too, and then says the same of an end that does not come there.
package struct StreamTail: Sendable {
  /// Bytes so far.
  private var count: UInt64 = 0
  /// The last ones.
  private var last: [UInt8] = []
  /// Where descriptions would end that may have begun.
  private var ends: [UInt64] = []

  /// EOF, 06, the size, and the brace that a description begins with.
  private static let pattern = 7
  /// More than pages have by chance; the oldest are forgotten.
  private static let maxEnds = 256

  /// Nothing has come.
  package init() {}

  /// The next bytes of the stream.
  package mutating func look(at bytes: UnsafeRawBufferPointer) {
    // What lies across the border, and then what does not.
    let border = last + bytes.prefix(Self.pattern - 1)
    let start = count - UInt64(last.count)
    border.withUnsafeBytes { search($0, at: start) }
    search(bytes, at: count)
    last = Array((last + bytes.suffix(Self.pattern - 1)).suffix(Self.pattern - 1))
    count += UInt64(bytes.count)
    let count = count
    if ends.contains(where: { $0 < count }) { ends.removeAll { $0 < count } }
  }

  /// It may end here.
  package var isWhole: Bool {
    ends.contains(count) || last.count == 6 && last[0] == 0x7e && last[5] == 0
  }

  private mutating func search(_ bytes: UnsafeRawBufferPointer, at start: UInt64) {
    var at = 1
    while at <= bytes.count - Self.pattern + 1,
      let found = bytes[at...(bytes.count - Self.pattern + 1)].firstIndex(of: 6)
    {
      at = found + 1
      guard bytes[found - 1] == 0, bytes[found + 5] == UInt8(ascii: "{") else { continue }
      if ends.count == Self.maxEnds { ends.removeFirst() }
      ends.append(start + UInt64(found + 5) + UInt64(bytes.u32(found + 1)))
    }
  }
}
