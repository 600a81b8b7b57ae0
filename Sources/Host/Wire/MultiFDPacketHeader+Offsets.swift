extension MultiFDPacketHeader {
  /// Decodes the offsets of normal, then zero pages, into `offsets`, and checks each of them.
  ///
  /// - Parameters:
  ///   - header: the header that `self` was decoded from.
  ///   - offsets: room for the capacity; `pageCount` of its entries are written.
  ///   - blockLength: bytes of the RAM block that the packet names.
  ///   - offset: the byte of the channel where the header begins.
  /// - Throws: `badOffset` for an offset that is not a multiple of the page size or whose page does
  ///   not end within the block.
  public func decodeOffsets(
    from header: UnsafeRawBufferPointer, into offsets: UnsafeMutableBufferPointer<UInt64>,
    blockLength: UInt64, at offset: UInt64
  ) throws(WireError) {
    // One comparison with the buffers' counts here makes every access below valid.
    let count = pageCount
    precondition(count <= offsets.count, "room for the capacity of a packet")
    precondition(header.count >= Self.fixedSize + 8 * count, "the header that was decoded")
    let mask = UInt64(pageSize) &- 1
    // A block shorter than a page has no page: then even offset 0 is refused.
    let last = blockLength >= UInt64(pageSize) ? blockLength - UInt64(pageSize) : 0
    var bad = count > 0 && blockLength < UInt64(pageSize)
    for index in 0..<count {
      let value = header.u64(Self.fixedSize &+ 8 &* index)
      bad = bad || value & mask != 0 || value > last
      offsets[index] = value
    }
    guard !bad else { throw badOffset(in: offsets, last: last, blockLength, at: offset) }
  }

  /// Finds the offset that `decodeOffsets` has stumbled on.
  private func badOffset(
    in offsets: UnsafeMutableBufferPointer<UInt64>, last: UInt64, _ blockLength: UInt64,
    at offset: UInt64
  ) -> WireError {
    let mask = UInt64(pageSize) &- 1
    let index =
      blockLength < UInt64(pageSize)
      ? 0 : offsets.prefix(pageCount).firstIndex { $0 & mask != 0 || $0 > last } ?? 0
    return WireError(
      .badOffset, at: offset + UInt64(Self.fixedSize + 8 * index),
      "page \(index) of the packet: offset \(hex(offsets[index])) is no page of a block of "
        + "\(hex(blockLength)) bytes (page size \(pageSize))")
  }

  /// Writes the whole header, `size(pageSize:)` bytes, into `header`; what has no meaning becomes
  /// zero.
  ///
  /// - Parameters:
  ///   - header: at least `size(pageSize:)` bytes.
  ///   - blockName: 255 bytes at most; empty for packets without pages.
  ///   - offsets: at least `pageCount` offsets, normal pages first.
  ///   - pageSize: bytes of a page.
  public func encode(
    into header: UnsafeMutableRawBufferPointer, blockName: UnsafeRawBufferPointer,
    offsets: UnsafeBufferPointer<UInt64>, pageSize: Int
  ) {
    let size = Self.size(pageSize: pageSize)
    // What is encoded is the caller's own: a violation is a bug here, not input.
    precondition(header.count >= size, "room for a whole header")
    precondition(blockName.count < Self.nameRange.count, "a block name has 255 bytes at most")
    precondition(pageCount <= Self.capacity(pageSize: pageSize) && pageCount <= offsets.count)
    header[0..<size].initializeMemory(as: UInt8.self, repeating: 0)
    header.store(MultiFDInit.magic, at: 0)
    header.store(MultiFDInit.version, at: 4)
    header.store(flags.rawValue, at: 8)
    header.store(pagesAllocated, at: 12)
    header.store(normalCount, at: 16)
    header.store(nextPacketSize, at: 20)
    header.store(packetNumber, at: 24)
    header.store(zeroCount, at: 32)
    UnsafeMutableRawBufferPointer(rebasing: header[Self.nameRange]).copyBytes(from: blockName)
    for index in 0..<pageCount {
      header.store(offsets[index], at: Self.fixedSize &+ 8 &* index)
    }
  }

  /// Writes a block's name where a header has it, for ``blockName(in:)``.
  ///
  /// - Parameters:
  ///   - blockName: 255 bytes at most.
  ///   - header: 320 bytes or more.
  public static func write(blockName: String, into header: UnsafeMutableRawBufferPointer) {
    precondition(header.count >= fixedSize && blockName.utf8.count < nameRange.count)
    let field = UnsafeMutableRawBufferPointer(rebasing: header[nameRange])
    field.initializeMemory(as: UInt8.self, repeating: 0)
    field.copyBytes(from: blockName.utf8)
  }

  /// The same with the name as text.
  public func encode(
    into header: UnsafeMutableRawBufferPointer, blockName: String,
    offsets: UnsafeBufferPointer<UInt64>, pageSize: Int
  ) {
    var name = blockName
    name.withUTF8 {
      encode(
        into: header, blockName: UnsafeRawBufferPointer($0), offsets: offsets, pageSize: pageSize)
    }
  }
}
