import Observe
import Wire

/// One multifd packet on its way: what its header says, which pages it brings, and where they lie.
///
/// A `PacketReader` fills it and a `PacketWriter` sends it. Its buffers are used again, so a
/// channel has one, or as many as are in flight at once.
///
///     header    flags, counts, number
///     block     the RAM block that the pages belong to
///     offsets   where in the block the pages are, the normal ones first
///     host      memory in which the normal pages lie, at `places`
public struct Packet: ~Copyable {
  /// Bytes of a page.
  public let pageSize: Int
  /// Pages that it has at most.
  public let capacity: Int
  /// Flags, counts and number. The counts are never more than there is room for: a header that came
  /// was checked, and one that is being made grows by `append`.
  public internal(set) var header: MultiFDPacketHeader
  /// What it is instead, where it is a device's state: the data follow, and it has no pages.
  public internal(set) var deviceState: DeviceStatePacketHeader?
  /// The byte of the channel at which it begins.
  public internal(set) var offset: UInt64 = 0
  /// The block's number in the list of whoever takes the pages.
  public internal(set) var block = -1
  /// Memory in which the normal pages lie; nil while nobody has said where.
  public private(set) var host: UnsafeMutableRawPointer?

  /// The header as it came; of one that is to be sent, the block's name in its place.
  let bytes: UnsafeMutableRawBufferPointer
  private let list: UnsafeMutableBufferPointer<UInt64>
  private let slots: UnsafeMutableBufferPointer<UInt64>
  private var isElsewhere = false
  /// What the far side has for the normal pages, at the same places as they; nil where a backend is
  /// to know of nothing.
  private(set) var reference: UnsafeRawPointer?
  /// The block whose name this side has written; nil where a reader may have put another.
  private var written: Int?

  /// An empty one.
  public init(pageSize: Int) {
    self.pageSize = pageSize
    capacity = MultiFDPacketHeader.capacity(pageSize: pageSize)
    header = MultiFDPacketHeader(
      flags: [], pagesAllocated: 0, normalCount: 0, nextPacketSize: 0, packetNumber: 0,
      zeroCount: 0, pageSize: pageSize)
    // All three live as long as this value, which nobody can copy; what points into them is for the
    // caller's calls only.
    bytes = .allocate(
      byteCount: max(MultiFDPacketHeader.size(pageSize: pageSize), DeviceStatePacketHeader.size),
      alignment: 8)
    bytes.initializeMemory(as: UInt8.self, repeating: 0)
    list = .allocate(capacity: capacity)
    slots = .allocate(capacity: capacity)
  }

  deinit {
    bytes.deallocate()
    list.deallocate()
    slots.deallocate()
  }

  /// It brings pages, with contents or zero.
  public var hasPages: Bool { header.pageCount > 0 }
  /// It ends an epoch of its channel.
  public var isSync: Bool { header.flags.contains(.sync) }

  /// Where in the block its pages are: normal ones, then zero ones. Valid until the packet changes,
  /// as all of these.
  public var offsets: UnsafeBufferPointer<UInt64> {
    UnsafeBufferPointer(rebasing: UnsafeBufferPointer(list)[..<header.pageCount])
  }
  /// Where in the block the pages with contents are.
  public var normal: UnsafeBufferPointer<UInt64> {
    UnsafeBufferPointer(rebasing: UnsafeBufferPointer(list)[..<Int(header.normalCount)])
  }
  /// Where in the block the pages are that are zero.
  public var zero: UnsafeBufferPointer<UInt64> {
    UnsafeBufferPointer(
      rebasing: UnsafeBufferPointer(list)[Int(header.normalCount)..<header.pageCount])
  }
  /// Where the normal pages lie, counted from `host`: in the block itself at their offsets,
  /// elsewhere as was said.
  public var places: UnsafeBufferPointer<UInt64> {
    UnsafeBufferPointer(
      rebasing: UnsafeBufferPointer(isElsewhere ? slots : list)[..<Int(header.normalCount)])
  }
  /// The block's name, without padding.
  public var blockName: UnsafeRawBufferPointer {
    MultiFDPacketHeader.blockName(in: UnsafeRawBufferPointer(bytes))
  }

  /// Whether a page may be in both packets, by how far their pages reach: packets that follow one
  /// another in a block have ranges of their own.
  func mayShareAPage(with other: borrowing Packet) -> Bool {
    guard block == other.block, let range, let theirs = other.range else { return false }
    return range.overlaps(theirs)
  }

  /// From its first page to its last; nil without pages.
  private var range: ClosedRange<UInt64>? {
    guard let first = offsets.first else { return nil }
    var (low, high) = (first, first)
    for offset in offsets { (low, high) = (min(low, offset), max(high, offset)) }
    return low...high
  }

  // MARK: Where the pages lie

  /// Room for as many places as there are normal pages, for whoever puts them elsewhere.
  public var roomForPlaces: UnsafeMutableBufferPointer<UInt64> { slots }

  /// The pages lie at their own offsets behind `host`: it is the block.
  public mutating func lies(inBlock host: UnsafeMutableRawPointer?) {
    (self.host, isElsewhere, reference) = (host, false, nil)
  }

  /// The pages lie behind `host`, at places that were written to `roomForPlaces`.
  ///
  /// - Parameter reference: has what the far side has for them, at the same places.
  public mutating func lies(
    elsewhere host: UnsafeMutableRawPointer, reference: UnsafeRawPointer? = nil
  ) {
    (self.host, isElsewhere, self.reference) = (host, true, reference)
  }

  // MARK: Filling it

  /// A header is about to come, with a name of its own.
  mutating func forgetBlock() { (block, written) = (-1, nil) }

  /// Decodes the offsets that the header brought, and checks that they are pages of a block of so
  /// many bytes.
  public mutating func decodeOffsets(blockLength: UInt64) throws(WireError) {
    try header.decodeOffsets(
      from: UnsafeRawBufferPointer(bytes), into: list, blockLength: blockLength, at: offset)
  }

  /// Makes it one of a block, without pages yet, and without SYNC.
  ///
  /// - Parameters:
  ///   - index: the block's number.
  ///   - name: its name, at most 255 bytes.
  ///   - host: where the block begins; nil for none, -1 and "".
  public mutating func begin(
    block index: Int, named name: String, host: UnsafeMutableRawPointer?
  ) {
    if index != written {
      MultiFDPacketHeader.write(blockName: name, into: bytes)
      written = index
    }
    block = index
    lies(inBlock: host)
    header = MultiFDPacketHeader(
      flags: [], pagesAllocated: 0, normalCount: 0, nextPacketSize: 0, packetNumber: 0,
      zeroCount: 0, pageSize: pageSize)
  }

  /// Nothing more will be added.
  ///
  /// - Parameter number: its number among the packets of all channels.
  public mutating func close(number: UInt64) {
    header.pagesAllocated = UInt32(capacity)
    header.packetNumber = number
  }

  /// Adds a page with contents; there must be room, and no zero pages yet.
  public mutating func append(normal offset: UInt64) {
    precondition(
      header.zeroCount == 0 && Int(header.normalCount) < capacity,
      "normal pages come first, and no more than a packet has")
    list[Int(header.normalCount)] = offset
    header.normalCount += 1
  }
}

extension Counters {
  /// Counts a packet as it was on the wire.
  public func count(_ packet: borrowing Packet) {
    let header = packet.header
    if let state = packet.deviceState {
      return moved(bytes: DeviceStatePacketHeader.size + Int(state.dataSize))
    }
    self.packet(
      bytes: MultiFDPacketHeader.size(pageSize: packet.pageSize) + header.payloadSize,
      payload: header.payloadSize, format: header.flags.method.index,
      normal: Int(header.normalCount), duplicate: Int(header.zeroCount), sync: packet.isSync)
  }
}
