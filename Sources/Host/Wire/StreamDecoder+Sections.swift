extension StreamDecoder {
  /// An element between sections, by its type byte (SPECIFICATION section 1.2).
  mutating func section(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> Step {
    switch bytes[0] {
    case 0: return try endOfFile()
    case 1: return try named(bytes, .start)
    case 2: return try numbered(bytes, .part)
    case 3: return try numbered(bytes, .end)
    case 4: return try named(bytes, .full)
    case 6:
      throw WireError(.outOfOrder, at: position, "a VM description before EOF")
    case 7:
      throw WireError(
        .outOfOrder, at: position, "a configuration that does not follow the file header")
    case 8: return try command(bytes)
    default:
      throw WireError(
        .unknownElement, at: position, "expected an element 0 to 4 or 8, found \(hex(bytes[0]))")
    }
  }

  private mutating func endOfFile() throws(WireError) -> Step {
    guard ramSectionID == nil || ramKind != .part || inCheckpoint || !ramIsOpen else {
      throw WireError(
        .unsupported, at: position,
        "the devices come before the END section of ram, as in a background snapshot: turn off background-snapshot "
          + "at the source")
    }
    guard ramSectionID != nil, !ramIsOpen else {
      throw WireError(.outOfOrder, at: position, "EOF before the END section of ram")
    }
    phase = inCheckpoint ? .deviceStateSize : .afterEOF
    return emit(.eof, 1)
  }

  /// START and FULL: they introduce an id.
  private mutating func named(
    _ bytes: UnsafeRawBufferPointer, _ kind: SectionKind
  ) throws(WireError) -> Step {
    // While the body is searched, the header was found good already; it is short and read again.
    var cursor = Cursor(bytes, from: 1)
    guard let id = cursor.u32(), let name = try cursor.name(of: "a section", at: position),
      let instance = cursor.u32(), let version = cursor.u32()
    else { return .needMore(atLeast: cursor.missing) }
    let isRAM = name.elementsEqual("ram".utf8)
    if isRAM {
      try checkRAM(kind, instance: instance, version: version)
    } else {
      guard try skipBody(bytes, from: cursor.offset, id: id) else {
        return .needMore(atLeast: resume.missing)
      }
    }
    let header = SectionHeader(
      kind: kind, id: id, name: name.text, instance: instance, version: version)
    try sections.learn(header, limit: limits.maxSections, at: position)
    phase = .sections
    guard isRAM else { return emit(.section(header), resume.offset) }
    ramSectionID = id
    ramIsOpen = true
    ramKind = .start
    phase = .ram
    return emit(.ramBegin(header), cursor.offset)
  }

  private func checkRAM(
    _ kind: SectionKind, instance: UInt32, version: UInt32
  ) throws(WireError) {
    guard kind == .start, ramSectionID == nil else {
      throw WireError(.outOfOrder, at: position, "ram comes as \(kind), or is started twice")
    }
    guard instance == 0 else {
      throw WireError(.mismatch, at: position, "ram has instance 0, found \(instance)")
    }
    guard version == Self.ramVersion else {
      throw WireError(
        .badVersion, at: position, "ram has version \(Self.ramVersion), found \(version)")
    }
  }

  /// PART and END: the id must be known.
  private mutating func numbered(
    _ bytes: UnsafeRawBufferPointer, _ kind: SectionKind
  ) throws(WireError) -> Step {
    guard bytes.count >= 5 else { return .needMore(atLeast: 5 - bytes.count) }
    let id = bytes.u32(1)
    let header = try sections.header(kind, id: id, at: position)
    if id == ramSectionID {
      guard ramIsOpen else {
        throw WireError(.outOfOrder, at: position, "\(kind) of ram after its END")
      }
      ramKind = kind
      phase = .ram
      return emit(.ramBegin(header), 5)
    }
    guard try skipBody(bytes, from: 5, id: id) else { return .needMore(atLeast: resume.missing) }
    return emit(.section(header), resume.offset)
  }

  /// Finds the end of a body that begins at `start`: `resume.offset` when true, else
  /// `resume.missing`.
  private mutating func skipBody(
    _ bytes: UnsafeRawBufferPointer, from start: Int, id: UInt32
  ) throws(WireError) -> Bool {
    let search = FooterSearch(
      id: id, iterable: sections.iterable, following: inCheckpoint ? .deviceState : .description,
      inputEnded: inputEnded,
      maxVMDescription: limits.maxVMDescription)
    let end: Int
    switch search.find(in: bytes, from: max(start, resume.offset)) {
    case .found(let found): (end, resume.missing) = (found, 0)
    case .needMore(let missing, let next): (end, resume.missing) = (next, missing)
    }
    resume.offset = end
    guard end <= limits.maxSection else {
      throw WireError(
        .limitExceeded, at: position,
        "section \(id) has no footer within \(limits.maxSection) bytes")
    }
    return resume.missing == 0
  }
}
