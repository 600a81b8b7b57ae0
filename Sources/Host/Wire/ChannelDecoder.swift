/// Decodes one multifd channel (SPECIFICATION section 3), from whatever pieces it arrives in.
///
/// Pure: who reads a connection or a recording gives it the bytes of a header, as many as it asks
/// for, and takes the payload past it.
public struct ChannelDecoder: Sendable {
  /// One piece of a channel.
  public enum Element: Sendable, Equatable {
    /// The first packet, which says whose channel it is.
    case start(MultiFDInit)
    /// A RAM packet's header. `payload` bytes follow and are not part of `consumed`: take them,
    /// then call `didTake`. The consumed bytes are what `blockName` and `decodeOffsets` want.
    case packet(MultiFDPacketHeader, payload: Int)
    /// A device-state packet's header; its data follow in the same way.
    case deviceState(DeviceStatePacketHeader)
  }

  /// What `next` made of the bytes.
  public enum Step: Sendable, Equatable {
    /// Nothing yet: at least so many bytes beyond those given are needed.
    case needMore(atLeast: Int)
    /// An element; the first `consumed` bytes of those given are done with.
    case element(Element, consumed: Int)
  }

  /// Bytes of a page.
  public let pageSize: Int
  /// Bytes of payload that a packet may have; stock QEMU has a buffer of 1 MiB.
  public let maxPayload: Int
  /// What the method bits of its packets mean.
  public let dialect: PacketDialect
  /// The channel offset of the next byte that `next` will look at.
  public private(set) var position: UInt64 = 0
  /// Packets with SYNC so far.
  public private(set) var syncs = 0
  /// Payload bytes that are due before the next `next`.
  public private(set) var rawBytesDue = 0
  private var started = false

  /// A decoder for one channel from its first byte.
  public init(
    pageSize: Int = 4096, maxPayload: Int = 1 << 20, dialect: PacketDialect = .qemu
  ) {
    self.pageSize = pageSize
    self.maxPayload = maxPayload
    self.dialect = dialect
  }

  /// The next element of `bytes`, which begin at `position` and are everything not yet consumed.
  public mutating func next(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> Step {
    precondition(rawBytesDue == 0, "a payload follows: take it and call didTake first")
    guard started else {
      guard bytes.count >= MultiFDInit.size else {
        if bytes.count >= 8 { try checkMultiFDPrefix(bytes, at: position) }
        return .needMore(atLeast: MultiFDInit.size - bytes.count)
      }
      let start = try MultiFDInit(decoding: bytes, at: position)
      started = true
      return emit(.start(start), MultiFDInit.size)
    }
    guard bytes.count >= MultiFDPacketHeader.prefixSize else {
      return .needMore(atLeast: MultiFDPacketHeader.prefixSize - bytes.count)
    }
    let flags = try MultiFDPacketHeader.flags(inPrefix: bytes, dialect: dialect, at: position)
    let isState = flags.contains(.deviceState)
    let size =
      isState ? DeviceStatePacketHeader.size : MultiFDPacketHeader.size(pageSize: pageSize)
    guard bytes.count >= size else { return .needMore(atLeast: size - bytes.count) }
    if isState {
      let header = try DeviceStatePacketHeader(decoding: bytes, at: position)
      try allow(UInt64(header.dataSize), atMost: nil, at: 272)
      return emit(.deviceState(header), size)
    }
    let header = try MultiFDPacketHeader(
      decoding: bytes, pageSize: pageSize, dialect: dialect, at: position)
    try allow(UInt64(header.payloadSize), atMost: dialect.bound(of: flags), at: 20)
    if flags.contains(.sync) { syncs += 1 }
    return emit(.packet(header, payload: header.payloadSize), size)
  }

  private mutating func allow(
    _ payload: UInt64, atMost bound: Int?, at field: UInt64
  ) throws(WireError) {
    let most = min(maxPayload, bound ?? .max)
    guard payload <= UInt64(most) else {
      throw WireError(
        .limitExceeded, at: position + field,
        "a payload of \(payload) bytes, \(most) are allowed")
    }
    rawBytesDue = Int(payload)
  }

  private mutating func emit(_ element: Element, _ consumed: Int) -> Step {
    position += UInt64(consumed)
    return .element(element, consumed: consumed)
  }

  /// The caller took `count` bytes of payload; at most as many as are due.
  public mutating func didTake(_ count: Int) {
    precondition(count >= 0 && count <= rawBytesDue, "more bytes taken than were due")
    rawBytesDue -= count
    position += UInt64(count)
  }

  /// The channel has ended and `remaining` was not consumed. It may end between packets only;
  /// whether all that was due has come is the main channel's to say.
  public mutating func finish(remaining: UnsafeRawBufferPointer) throws(WireError) {
    var rest = remaining
    while true {
      let count = min(rawBytesDue, rest.count)
      didTake(count)
      rest = rest.part(count..<rest.count)
      // Each round consumes at least a header, so the loop ends.
      guard rawBytesDue == 0, case .element(_, let consumed) = try next(rest) else { break }
      rest = rest.part(consumed..<rest.count)
    }
    guard started, rawBytesDue == 0, rest.isEmpty else {
      let place = !started ? "its init packet" : rawBytesDue > 0 ? "a payload" : "a header"
      throw WireError(
        .truncated, at: position + UInt64(rest.count), "the channel ends inside \(place)")
    }
  }
}
