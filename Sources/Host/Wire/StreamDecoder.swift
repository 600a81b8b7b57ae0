/// Decodes the main channel (SPECIFICATION sections 1, 2, 5 and 7), from whatever pieces it arrives
/// in.
///
/// ```
///  fileHeader > configuration > sections <> ram > ramFooter > sections
///                               sections > (00) afterEOF > (06 VMDESC) idle
///                               afterEOF, idle > (REQUEST) requested > (VMSTATE_SEND) sections …
///                               sections > (00, in a checkpoint) deviceStateSize > (VMSTATE_SIZE) idle
/// ```
///
/// A value without I/O: copy it to look ahead. The caller keeps the bytes that are not consumed and
/// gives them again, with more behind them. No call costs more than the bytes that are new, however
/// small the pieces are; nothing is allocated for a page record.
public struct StreamDecoder: Sendable {
  /// What the operator allows.
  public let limits: Limits
  /// The stream offset of the next byte that `next` will look at.
  public internal(set) var position: UInt64 = 0
  /// Where in the stream that is.
  public internal(set) var phase: Phase = .fileHeader
  /// Set this when nothing will follow the bytes that `next` is given. Only then can a final `00`
  /// that no VM description follows be told from a byte of a device's state.
  public var inputEnded = false

  // What was learned.

  /// What the source told about its machine; nil when it told nothing.
  public internal(set) var configuration: Configuration?
  /// The RAM blocks, in the order of the list. Elements refer to them by index.
  public internal(set) var blocks: [RAMBlockDescription] = []
  /// The id of the section `ram`.
  public internal(set) var ramSectionID: UInt32?
  /// Known after the START section of `ram`.
  public internal(set) var syncMode: SyncMode?
  /// Known after the first RAM section; false never gets that far.
  public internal(set) var hasFooters: Bool?
  /// The source listens on the return path.
  public internal(set) var returnPathRequested = false
  /// ENABLE_COLO was seen: a COLO source up to 10.2.
  public internal(set) var coloEnabled = false
  /// Checkpoints begun, that is CHECKPOINT_REQUESTs seen.
  public internal(set) var checkpoint = 0

  // The state between calls.

  /// Raw bytes that the caller still has to take.
  var pending: UInt64 = 0
  let pageMask: UInt64
  /// The block of the previous page record: CONTINUE refers to it, across sections and checkpoints.
  var currentBlock = -1
  /// The last offset at which that block has a page.
  var lastOffset: UInt64 = 0
  /// True between a START of `ram` and its END, and in a checkpoint before the END.
  var ramIsOpen = false
  /// The kind of the RAM section that the decoder is in.
  var ramKind = SectionKind.start
  /// True between VMSTATE_SEND and the end of the device state.
  var inCheckpoint = false
  /// Names and ids of sections.
  var sections = SectionTable()
  /// What is known of an element that has not arrived whole, so that it is not looked at twice.
  var resume = Resume()

  /// A decoder for one stream from its first byte.
  public init(limits: Limits = Limits()) {
    precondition(
      limits.pageSize >= 1024 && limits.pageSize & (limits.pageSize - 1) == 0,
      "the page size is a power of two, at least 1024")
    self.limits = limits
    pageMask = UInt64(limits.pageSize) - 1
  }

  /// The next element of `bytes`, which begin at `position` and are everything not yet consumed.
  ///
  /// Call it again with the rest until it asks for more.
  @inline(__always)
  public mutating func next(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> Step {
    precondition(pending == 0, "raw bytes follow: take them and call didTake first")
    // Nearly every record is a page of the same block as before. 9 bytes: the word and a fill byte.
    if phase == .ram, bytes.count >= 9 {
      let word = bytes.u64(0)
      let offset = word & ~pageMask
      if currentBlock >= 0, offset <= lastOffset {
        let flags = word & pageMask
        if flags == RAMFlag.zero | RAMFlag.continue {
          position &+= 9
          return .element(
            .zero(block: currentBlock, offset: offset, fill: bytes.u8(8)), consumed: 9)
        }
        if flags == RAMFlag.page | RAMFlag.continue {
          position &+= 8
          pending = UInt64(limits.pageSize)
          return .element(.page(block: currentBlock, offset: offset), consumed: 8)
        }
      }
    }
    return try slowNext(bytes)
  }

  @inline(never)
  private mutating func slowNext(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> Step {
    guard !bytes.isEmpty else { return .needMore(atLeast: 1) }
    switch phase {
    case .fileHeader: return try fileHeader(bytes)
    case .configuration where bytes[0] == 7: return try configuration(bytes)
    case .configuration, .sections: return try section(bytes)
    case .ram: return try ramRecord(bytes)
    case .ramFooter: return try ramFooter(bytes)
    case .afterEOF where bytes[0] == 6: return try vmDescription(bytes)
    case .afterEOF, .idle, .requested, .deviceStateSize: return try coloMessage(bytes)
    }
  }

  /// The caller took `count` raw bytes after a `page` or a `deviceState`; at most as many as are
  /// due.
  public mutating func didTake(_ count: Int) {
    precondition(count >= 0 && UInt64(count) <= pending, "more bytes taken than were due")
    pending -= UInt64(count)
    position &+= UInt64(count)
  }

  /// Raw bytes that are due: `didTake` must account for them before the next `next`.
  public var rawBytesDue: UInt64 { pending }

  /// The stream has ended and `remaining` was not consumed. Decodes what it holds and tells how the
  /// stream ended, or throws `truncated` when it may not end there.
  public mutating func finish(
    remaining: UnsafeRawBufferPointer
  ) throws(WireError) -> Completion {
    inputEnded = true
    var rest = remaining
    while true {
      if pending > 0 {
        let count = Int(min(pending, UInt64(rest.count)))
        didTake(count)
        rest = rest.part(count..<rest.count)
        guard pending == 0 else { break }
      }
      // Each round consumes at least a byte, so the loop ends.
      guard case .element(_, let consumed) = try next(rest) else { break }
      rest = rest.part(consumed..<rest.count)
    }
    if rest.isEmpty && pending == 0 && (phase == .afterEOF || phase == .idle) { return .complete }
    if checkpoint > 0 {
      // Bytes after a complete checkpoint are the next one's request, cut short.
      let isNext = phase == .idle && pending == 0
      return .insideCheckpoint(number: isNext ? checkpoint + 1 : checkpoint)
    }
    throw WireError(
      .truncated, at: position + UInt64(rest.count), "the stream ends \(whereItIs)")
  }

  private var whereItIs: String {
    if pending > 0 { return "\(pending) bytes before the end of a page or device state" }
    return switch phase {
    case .fileHeader: "inside the file header"
    case .configuration: "after the file header"
    case .sections: "between or inside sections, before EOF"
    case .ram: "inside a RAM section"
    case .ramFooter: "before the footer of a RAM section"
    case .afterEOF: "inside the VM description"
    case .idle, .requested, .deviceStateSize: "inside a checkpoint message"
    }
  }

  /// Accounts for an element of `consumed` bytes.
  mutating func emit(_ element: Element, _ consumed: Int) -> Step {
    position &+= UInt64(consumed)
    resume = Resume()
    return .element(element, consumed: consumed)
  }
}
