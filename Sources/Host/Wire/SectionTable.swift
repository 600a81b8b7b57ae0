/// The section ids that a stream has introduced: PART and END have nothing but the id.
struct SectionTable: Sendable {
  private var known: [UInt32: SectionHeader] = [:]
  /// Those introduced by START, of which PART and END may come.
  private(set) var iterable: [UInt32] = []

  /// Remembers a START or FULL, which comes at stream offset `position`.
  ///
  /// An id stands for one handler: another name or instance is a `mismatch`. COLO repeats FULLs.
  mutating func learn(
    _ header: SectionHeader, limit: Int, at position: UInt64
  ) throws(WireError) {
    if let old = known[header.id] {
      guard old.name == header.name, old.instance == header.instance else {
        throw WireError(
          .mismatch, at: position + 1,
          "section id \(header.id) is \(old.name) \(old.instance), now \(header.name) \(header.instance)"
        )
      }
    } else {
      guard known.count < limit else {
        throw WireError(.limitExceeded, at: position + 1, "more than \(limit) sections")
      }
      known[header.id] = header
    }
    if header.kind == .start && !iterable.contains(header.id) { iterable.append(header.id) }
  }

  /// The header of a PART or END, which comes at stream offset `position`.
  func header(
    _ kind: SectionKind, id: UInt32, at position: UInt64
  ) throws(WireError) -> SectionHeader {
    guard var header = known[id], iterable.contains(id) else {
      throw WireError(
        .unknownSection, at: position + 1, "\(kind) of section \(id), which no START introduced")
    }
    header.kind = kind
    return header
  }
}

/// What is known of an element that has not arrived whole.
struct Resume: Sendable {
  /// Bytes by which a section falls short of its end; 0 when it was found.
  var missing = 0
  /// Bytes of the element that need not be looked at again.
  var offset = 0
  /// The block list as far as it has arrived.
  var blocks: [RAMBlockDescription] = []
  /// Their names.
  var names: Set<String> = []
  /// The sum of their lengths.
  var total: UInt64 = 0
}
