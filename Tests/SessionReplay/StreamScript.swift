// SessionReplay: plays the bytes of a migration (a main channel and its multifd channels, recorded
// from a stock QEMU or written by this project's own sender) through the decoders, the real
// backends and the COLO stage, without a socket and without a clock. What the roles do with threads
// and connections is compared with what comes out here.
//
//   StreamScript   the bytes, decoded into steps, cut into epochs by the sync points
//   Schedule       one of the orders in which the steps may happen
//   StageReplay    applies steps to a COLO stage
//   PageModel      applies the same steps to a dictionary of pages, as naively as possible
//   TestBackends   the backends of this build, by dlopen

import TestSupport
import Wire

/// One migration as a list of steps, by the rules of SPECIFICATION section 3.5: what a channel
/// sends before its k-th SYNC, and what the main channel says before its k-th marker, is epoch k.
public struct StreamScript: Sendable {
  /// What happens, on the main channel or on one of the others.
  public enum Step: Equatable, Sendable {
    /// A page on the main channel; its bytes are at `bytes` of `main`.
    case page(block: Int, offset: UInt64, bytes: Range<Int>)
    /// A page that consists of `fill`, on the main channel.
    case zero(block: Int, offset: UInt64, fill: UInt8)
    /// Packet number `index` of a channel.
    case packet(channel: Int, index: Int)
    /// The main channel passes its `number`-th sync point; the first is 1.
    case marker(number: Int)
    /// The migration's EOF: a COLO secondary enters COLO state here.
    case precopyComplete
    /// VMSTATE_SEND: the RAM of checkpoint `number` follows; the first is 1.
    case checkpointBegin(number: Int)
    /// RAM and device state of checkpoint `number` are here.
    case checkpointComplete(number: Int, deviceState: Range<Int>)

    /// True for the steps that nothing on another channel may overtake or fall behind.
    var isBoundary: Bool {
      switch self {
      case .precopyComplete, .checkpointBegin, .checkpointComplete: true
      default: false
      }
    }
  }

  /// A multifd packet.
  public struct Packet: Sendable {
    /// The fixed part of its header.
    public let header: MultiFDPacketHeader
    /// Index of its RAM block; -1 when it has no pages.
    public let block: Int
    /// Offsets of its pages, normal ones first.
    public let offsets: [UInt64]
    /// Where its header is in the channel's bytes.
    public let range: Range<Int>
    /// Where its payload is.
    public let payload: Range<Int>
  }

  /// A multifd channel.
  public struct Channel: Sendable {
    /// All of it.
    public let bytes: [UInt8]
    /// The number that it gives itself.
    public let id: Int
    /// Its packets.
    public let packets: [Packet]
  }

  /// What lies between two sync points.
  struct Epoch: Sendable {
    var main: [Step] = []
    /// By channel: indices of its packets.
    var packets: [Range<Int>] = []
  }

  /// The main channel's bytes.
  public let main: [UInt8]
  /// The channels, by their numbers.
  public let channels: [Channel]
  /// The decoder after the last byte: block list, configuration, sync mode.
  public let decoder: StreamDecoder
  /// How the main channel ended.
  public let completion: StreamDecoder.Completion
  /// Bytes of sections before the migration's RAM was complete.
  public let earlyState: [UInt8]
  /// Bytes of the devices' sections after it, with the closing EOF byte.
  public let deviceState: [UInt8]
  /// The VM description element; empty if there was none.
  public let vmDescription: [UInt8]
  /// The last one has no marker.
  let epochs: [Epoch]

  /// The RAM blocks.
  public var blocks: [RAMBlockDescription] { decoder.blocks }
  /// The sync points of the main channel.
  public var markers: Int { epochs.count - 1 }

  /// Decodes a recorded session.
  public init(_ session: Fixtures.Session) throws {
    try self.init(
      main: Fixtures.bytes(session.main), channels: session.channels.map { try Fixtures.bytes($0) })
  }

  /// Decodes a migration.
  ///
  /// - Parameter channels: the bytes of the multifd channels, in any order.
  public init(main: [UInt8], channels: [[UInt8]]) throws {
    var reader = MainReader()
    completion = try reader.read(main, multifd: !channels.isEmpty)
    self.main = main
    decoder = reader.decoder
    (earlyState, deviceState) = (reader.earlyState, reader.deviceState)
    vmDescription = reader.vmDescription
    let blocks = reader.decoder.blocks
    self.channels = try channels.map { try Channel($0, blocks: blocks) }.sorted { $0.id < $1.id }
    var epochs = reader.epochs.map { Epoch(main: $0) }
    for channel in self.channels {
      var first = 0
      for index in epochs.indices {
        // The packet that carries the SYNC belongs to the epoch that it ends, data included.
        let last = channel.packets[first...].firstIndex { $0.header.flags.contains(.sync) }
        let end = last.map { $0 + 1 } ?? channel.packets.count
        epochs[index].packets.append(first..<end)
        first = end
      }
      guard first == channel.packets.count else {
        throw LabError(
          "channel \(channel.id) goes on after the \(epochs.count - 1) sync points of the main channel"
        )
      }
    }
    self.epochs = epochs
  }
}

extension StreamScript.Channel {
  init(_ bytes: [UInt8], blocks: [RAMBlockDescription]) throws {
    var decoder = ChannelDecoder()
    var packets: [StreamScript.Packet] = []
    var id = -1
    try bytes.withUnsafeBytes { all in
      var at = 0
      while case .element(let element, let consumed) = try decoder.next(
        UnsafeRawBufferPointer(rebasing: all[at...]))
      {
        let range = at..<at + consumed
        at += consumed
        switch element {
        case .start(let hello): id = Int(hello.id)
        case .packet(let header, let payload):
          guard at + payload <= all.count else { throw LabError("channel \(id) ends in a payload") }
          packets.append(
            try StreamScript.Packet(
              header, UnsafeRawBufferPointer(rebasing: all[range]), blocks, range: range,
              payload: at..<at + payload))
          decoder.didTake(payload)
          at += payload
        case .deviceState: throw LabError("channel \(id) has device-state packets")
        }
      }
      try decoder.finish(remaining: UnsafeRawBufferPointer(rebasing: all[at...]))
    }
    self.init(bytes: bytes, id: id, packets: packets)
  }
}

extension StreamScript.Packet {
  init(
    _ header: MultiFDPacketHeader, _ bytes: UnsafeRawBufferPointer, _ blocks: [RAMBlockDescription],
    range: Range<Int>, payload: Range<Int>
  ) throws {
    (self.header, self.range, self.payload) = (header, range, payload)
    guard header.pageCount > 0 else {
      (block, offsets) = (-1, [])
      return
    }
    let name = String(decoding: MultiFDPacketHeader.blockName(in: bytes), as: UTF8.self)
    guard let block = blocks.firstIndex(where: { $0.name == name }) else {
      throw LabError("there is no RAM block \(name)")
    }
    self.block = block
    var offsets = [UInt64](
      repeating: 0, count: MultiFDPacketHeader.capacity(pageSize: header.pageSize))
    try offsets.withUnsafeMutableBufferPointer {
      try header.decodeOffsets(
        from: bytes, into: $0, blockLength: blocks[block].usedLength, at: UInt64(range.lowerBound))
    }
    self.offsets = Array(offsets.prefix(header.pageCount))
  }

  /// Offsets of the pages with contents.
  public var normal: ArraySlice<UInt64> { offsets.prefix(Int(header.normalCount)) }
  /// Offsets of the zero pages.
  public var zero: ArraySlice<UInt64> { offsets.dropFirst(Int(header.normalCount)) }
}
