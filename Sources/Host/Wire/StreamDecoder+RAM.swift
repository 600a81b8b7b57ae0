import Glibc

extension StreamDecoder {
  /// The only version of `ram` (SPECIFICATION section 1.2).
  static let ramVersion: UInt32 = 4

  /// A record that the fast path of `next` has left: the first page of a block, the block list, an
  /// end, or something wrong.
  mutating func ramRecord(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> Step {
    guard bytes.count >= 8 else { return .needMore(atLeast: 8 - bytes.count) }
    let word = bytes.u64(0)
    let flags = word & pageMask
    switch flags {
    case RAMFlag.zero, RAMFlag.page, RAMFlag.zero | RAMFlag.continue,
      RAMFlag.page | RAMFlag.continue:
      return try pageRecord(bytes, offset: word & ~pageMask, flags: flags)
    case RAMFlag.memSize:
      return try blockList(bytes, total: word & ~pageMask)
    case RAMFlag.eos where word == RAMFlag.eos:
      guard !blocks.isEmpty else {
        throw WireError(.outOfOrder, at: position, "START of ram ends without a block list")
      }
      if ramKind == .start && syncMode == nil { syncMode = .perSection }
      if ramKind == .end { ramIsOpen = false }
      phase = .ramFooter
      return emit(.endOfRAMSection, 8)
    case RAMFlag.multifdFlush where word == RAMFlag.multifdFlush:
      guard ramKind == .start || syncMode == .flush else {
        throw WireError(
          .outOfOrder, at: position,
          "MULTIFD_FLUSH in a stream whose START section has none: its sections are the sync points"
        )
      }
      syncMode = .flush
      return emit(.multifdFlush, 8)
    default: throw unknownRecord(word)
    }
  }

  private func unknownRecord(_ word: UInt64) -> WireError {
    let flags = word & pageMask
    let refused: (UInt64, String)? = [
      (RAMFlag.xbzrle, "XBZRLE: turn off the capability xbzrle at the source"),
      (RAMFlag.compressPage, "COMPRESS_PAGE: turn off the capability compress at the source"),
      (RAMFlag.hook, "HOOK: migration over RDMA is not supported, use tcp or unix"),
    ].first { flags & ~RAMFlag.continue == $0.0 }
    if let refused { return WireError(.unsupported, at: position, "RAM record \(refused.1)") }
    return WireError(
      .unknownFlags, at: position, "RAM record \(hex(word)): no record has the flags \(hex(flags))")
  }

  private mutating func pageRecord(
    _ bytes: UnsafeRawBufferPointer, offset: UInt64, flags: UInt64
  ) throws(WireError) -> Step {
    var cursor = Cursor(bytes, from: 8)
    var block = currentBlock
    if flags & RAMFlag.continue == 0 {
      guard let name = try cursor.name(of: "a RAM block", at: position) else {
        return .needMore(atLeast: cursor.missing)
      }
      guard let found = index(ofBlock: name) else {
        throw WireError(
          .unknownBlock, at: position + 8, "RAM block \(name.text) is not in the block list")
      }
      block = found
    } else if block < 0 {
      throw WireError(.outOfOrder, at: position, "CONTINUE in the first page record")
    }
    let length = blocks[block].usedLength
    guard offset <= length - UInt64(limits.pageSize) else {
      throw WireError(
        .badOffset, at: position,
        "offset \(hex(offset)) is no page of \(blocks[block].name), which has \(hex(length)) bytes")
    }
    let element: Element
    if flags & RAMFlag.zero != 0 {
      guard let fill = cursor.u8() else { return .needMore(atLeast: cursor.missing) }
      element = .zero(block: block, offset: offset, fill: fill)
    } else {
      element = .page(block: block, offset: offset)
      pending = UInt64(limits.pageSize)
    }
    currentBlock = block
    lastOffset = length - UInt64(limits.pageSize)
    return emit(element, cursor.offset)
  }

  private func index(ofBlock name: UnsafeRawBufferPointer) -> Int? {
    for index in blocks.indices {
      // The string's bytes are compared in place, without a copy.
      var candidate = blocks[index].name
      let equal = candidate.withUTF8 { utf8 in
        utf8.count == name.count && memcmp(utf8.baseAddress!, name.baseAddress!, name.count) == 0
      }
      if equal { return index }
    }
    return nil
  }

  /// The block list of START (SPECIFICATION section 2.2). Parsed as it arrives: `resume` has the
  /// blocks so far.
  private mutating func blockList(
    _ bytes: UnsafeRawBufferPointer, total: UInt64
  ) throws(WireError) -> Step {
    guard ramKind == .start, blocks.isEmpty else {
      throw WireError(.outOfOrder, at: position, "a second block list, or one outside of START")
    }
    guard total > 0 else { throw WireError(.badLength, at: position, "the guest has no RAM") }
    guard total <= limits.maxRAM else {
      throw WireError(
        .limitExceeded, at: position,
        "the guest has \(hex(total)) bytes of RAM, \(hex(limits.maxRAM)) are allowed", limit: .ram)
    }
    while resume.total < total {
      var cursor = Cursor(bytes, from: max(resume.offset, 8))
      let start = position + UInt64(cursor.offset)
      guard resume.blocks.count < limits.maxBlocks else {
        throw WireError(.limitExceeded, at: start, "more than \(limits.maxBlocks) RAM blocks")
      }
      guard let name = try cursor.name(of: "a RAM block", at: position),
        let length = cursor.u64()
      else { return .needMore(atLeast: cursor.missing) }
      var block = RAMBlockDescription(name: name.text, usedLength: length)
      guard length > 0, length & pageMask == 0, length <= total - resume.total else {
        throw WireError(
          .badLength, at: start,
          "RAM block \(block.name) has \(hex(length)) bytes: not whole pages, or beyond the total \(hex(total))"
        )
      }
      if configuration?.ignoresShared == true {
        guard let address = cursor.u64() else { return .needMore(atLeast: cursor.missing) }
        block.guestAddress = address
      }
      guard resume.names.insert(block.name).inserted else {
        throw WireError(.mismatch, at: start, "RAM block \(block.name) is listed twice")
      }
      resume.blocks.append(block)
      resume.total += length
      resume.offset = cursor.offset
    }
    blocks = resume.blocks
    return emit(.ramBlocks(blocks), resume.offset)
  }

  mutating func ramFooter(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> Step {
    guard bytes[0] == 0x7e else {
      switch bytes[0] {
      case 0...4, 8:
        throw WireError(
          .unsupported, at: position,
          "sections without footers: use a machine type later than 2.3, or send-section-footer=on")
      default:
        throw WireError(
          .unknownElement, at: position, "expected the footer of ram, found \(hex(bytes[0]))")
      }
    }
    guard bytes.count >= 5 else { return .needMore(atLeast: 5 - bytes.count) }
    guard bytes.u32(1) == ramSectionID else {
      throw WireError(
        .mismatch, at: position + 1,
        "footer of section \(bytes.u32(1)) after section \(ramSectionID ?? 0) (ram)")
    }
    hasFooters = true
    phase = .sections
    return emit(.footer(id: bytes.u32(1)), 5)
  }
}
