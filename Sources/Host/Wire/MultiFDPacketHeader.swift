/// The fixed part of a RAM packet's header (SPECIFICATION section 3.3).
///
/// A reader takes `prefixSize` bytes, looks at the flags, takes the rest of the header, decodes it,
/// decodes the offsets into memory of its own, and then `payloadSize` bytes of payload. None of it
/// allocates.
public struct MultiFDPacketHeader: Equatable, Sendable {
  /// Magic, version and flags: what tells which of the two headers follows.
  public static let prefixSize = 12
  /// Bytes before the offsets.
  static let fixedSize = 320
  /// Where the block's name is.
  static let nameRange = 64..<320
  /// Bytes of pages that one packet holds at most, whatever the page size.
  static let packetBytes = 524_288

  /// Bytes of the whole header for pages of `pageSize` bytes.
  public static func size(pageSize: Int) -> Int { fixedSize + 8 * capacity(pageSize: pageSize) }

  /// Pages that one packet holds at most: `P`.
  public static func capacity(pageSize: Int) -> Int { packetBytes / pageSize }

  /// SYNC and the method.
  public var flags: MultiFDFlags
  /// The sender's capacity in pages; 0 in SYNC packets of 9.0 and later.
  public var pagesAllocated: UInt32
  /// Pages with payload: the first entries of the offset list.
  public var normalCount: UInt32
  /// Payload bytes of a compressing method. Stale in 7.2 when `normalCount` is 0: see
  /// `payloadSize`.
  public var nextPacketSize: UInt32
  /// For statistics only: 7.2 repeats and skips numbers.
  public var packetNumber: UInt64
  /// Pages without payload that are zero: the next entries of the list. Always 0 in 7.2.
  public var zeroCount: UInt32
  /// Bytes of a page, as the decoder was told; not on the wire.
  public var pageSize: Int

  /// A packet to be encoded.
  public init(
    flags: MultiFDFlags, pagesAllocated: UInt32, normalCount: UInt32, nextPacketSize: UInt32,
    packetNumber: UInt64, zeroCount: UInt32, pageSize: Int = 4096
  ) {
    self.flags = flags
    self.pagesAllocated = pagesAllocated
    self.normalCount = normalCount
    self.nextPacketSize = nextPacketSize
    self.packetNumber = packetNumber
    self.zeroCount = zeroCount
    self.pageSize = pageSize
  }

  /// The flags of a packet whose first `prefixSize` bytes are `prefix`, after magic and version
  /// were checked.
  ///
  /// Unknown bits, and method bits that mean nothing in `dialect`, are `unknownFlags`.
  public static func flags(
    inPrefix prefix: UnsafeRawBufferPointer, dialect: PacketDialect = .qemu, at offset: UInt64
  ) throws(WireError) -> MultiFDFlags {
    guard prefix.count >= prefixSize else {
      throw WireError(
        .truncated, at: offset + UInt64(prefix.count),
        "a multifd packet begins with \(prefixSize) bytes, the channel ends after \(prefix.count)")
    }
    try checkMultiFDPrefix(prefix, at: offset)
    let flags = MultiFDFlags(rawValue: prefix.u32(8))
    guard flags.rawValue & ~MultiFDFlags.known == 0 else {
      throw WireError(
        .unknownFlags, at: offset + 8,
        "multifd packet flags \(hex(flags.rawValue)): known are \(hex(MultiFDFlags.known))")
    }
    try dialect.check(flags, at: offset)
    return flags
  }

  /// Decodes a whole header of `size(pageSize:)` bytes that begins at byte `offset` of its channel.
  ///
  /// Checks magic, version, flags, and the counts against the capacity. The offsets are not looked
  /// at.
  public init(
    decoding header: UnsafeRawBufferPointer, pageSize: Int, dialect: PacketDialect = .qemu,
    at offset: UInt64
  ) throws(WireError) {
    let flags = try Self.flags(inPrefix: header, dialect: dialect, at: offset)
    guard !flags.contains(.deviceState) else {
      throw WireError(
        .mismatch, at: offset + 8,
        "a device-state packet (flags \(hex(flags.rawValue))) is no RAM packet")
    }
    let size = Self.size(pageSize: pageSize)
    guard header.count >= size else {
      throw WireError(
        .truncated, at: offset + UInt64(header.count),
        "a multifd header has \(size) bytes, the channel ends after \(header.count)")
    }
    let capacity = UInt32(Self.capacity(pageSize: pageSize))
    let allocated = header.u32(12)
    guard allocated <= capacity else {
      throw WireError(
        .badLength, at: offset + 12,
        "pages_alloc \(allocated) is more than the \(capacity) of a packet")
    }
    let normal = header.u32(16)
    guard normal <= allocated else {
      throw WireError(
        .badLength, at: offset + 16, "normal_pages \(normal) is more than pages_alloc \(allocated)")
    }
    let zero = header.u32(32)
    guard zero <= allocated - normal else {
      throw WireError(
        .badLength, at: offset + 32,
        "zero_pages \(zero) and normal_pages \(normal) are more than pages_alloc \(allocated)")
    }
    self.init(
      flags: flags, pagesAllocated: allocated, normalCount: normal, nextPacketSize: header.u32(20),
      packetNumber: header.u64(24), zeroCount: zero, pageSize: pageSize)
  }

  /// Writes other method bits into a header that is sent on as it came, and no payload where there
  /// are no pages for one; `header` is the whole header of a RAM packet.
  public func write(method: MultiFDMethod, into header: UnsafeMutableRawBufferPointer) {
    precondition(header.count >= Self.fixedSize, "a header was decoded before it is sent on")
    var flags = flags
    flags.method = method
    header.store(flags.rawValue, at: 8)
    if normalCount == 0 { header.store(UInt32(0), at: 20) }
  }

  /// Entries of the offset list that have a meaning: at most the capacity.
  public var pageCount: Int { Int(normalCount) + Int(zeroCount) }

  /// Bytes of payload that follow: none without normal pages, `normalCount` pages for method none,
  /// else `nextPacketSize`, which the caller compares with what it allows.
  public var payloadSize: Int {
    if normalCount == 0 { return 0 }
    return flags.method == .none ? Int(normalCount) * pageSize : Int(nextPacketSize)
  }

  /// The bytes of the block's name in `header` without the NUL padding; `header` has 320 bytes or
  /// more.
  ///
  /// In 7.2 a packet without pages carries a stale name.
  public static func blockName(in header: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    precondition(header.count >= fixedSize, "a header was decoded before its name is read")
    let field = header.part(nameRange)
    return field.part(0..<(field.firstIndex(of: 0) ?? field.count))
  }
}
