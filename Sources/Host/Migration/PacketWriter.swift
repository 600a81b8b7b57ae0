import Glibc
import Observe
import PluginAPI
import PluginLoader
import Synchronization
import Transport
import Wire

/// The one writer of multifd packets: header, payload and SYNC, to a connection.
///
/// Pages go out of the memory in which the packet says they lie, or as what the backend makes of
/// them; header and payload in one system call. It belongs to one thread.
public final class PacketWriter {
  private let socket: Socket
  private let throttle: Throttle?
  private var widestWindow = 0
  private let header: UnsafeMutableRawBufferPointer
  private let pieces: UnsafeMutableBufferPointer<iovec>
  /// What it has sent.
  public let counters: Counters

  /// Packets of all channels of a source are numbered together.
  public final class Numbers: Sendable {
    private let last = Atomic<UInt64>(0)

    /// From 1 on.
    public init() {}

    /// The next one.
    public func next() -> UInt64 { last.wrappingAdd(1, ordering: .relaxed).newValue }
  }

  /// A writer of a channel from its first byte.
  ///
  /// - Parameters:
  ///   - counters: what counts there.
  ///   - throttle: what keeps it below a rate.
  public init(
    _ socket: Socket, pageSize: Int, counters: Counters = Counters(), throttle: Throttle? = nil
  ) {
    self.socket = socket
    self.throttle = throttle
    self.counters = counters
    // Both belong to this object and its one thread. A backend returns at most 16 pieces more than
    // there are pages.
    header = .allocate(byteCount: MultiFDPacketHeader.size(pageSize: pageSize), alignment: 8)
    pieces = .allocate(capacity: MultiFDPacketHeader.capacity(pageSize: pageSize) + 17)
  }

  deinit {
    header.deallocate()
    pieces.deallocate()
  }

  /// Whether the peer reads more slowly than the network brings: it has had room for much more than
  /// it has now. One that only waits for the network has always the same.
  func peerIsSlow() -> Bool {
    guard let window = socket.peerWindow else { return false }
    widestWindow = max(widestWindow, window)
    return window < widestWindow / 2
  }

  /// Sends the init packet.
  public func begin(_ hello: MultiFDInit) throws {
    try socket.write(hello.encode())
    counters.moved(bytes: MultiFDInit.size)
  }

  /// Sends a packet: its pages, if it has some, and its SYNC.
  ///
  /// - Parameter encoder: what makes a payload of the pages; no other packet is in flight there.
  /// - Throws: also for a header of a peer's that cannot be sent on.
  public func write(_ packet: borrowing Packet, with encoder: PacketEncoder) throws {
    let payload = packet.header.normalCount > 0 ? try encoder.encode(packet) : nil
    _ = try write(packet, payload, as: encoder.method)
  }

  /// Sends a packet whose pages have become `payload`; nil where it has none with contents.
  ///
  /// - Throws: also for a header of a peer's that cannot be sent on.
  func write(
    _ packet: borrowing Packet, _ payload: SendChannel.Payload?, as method: MultiFDMethod
  ) throws -> Sent {
    let start = ContinuousClock.now
    var fields = packet.header
    let name = try Self.name(of: packet)
    var count = 1
    // Stale in some packets of 7.2's.
    fields.nextPacketSize = 0
    // Also of packets that have zero pages only (SPECIFICATION section 4.6).
    if packet.hasPages { fields.flags.method = method }
    if let payload {
      fields.nextPacketSize = UInt32(payload.size)
      for (index, piece) in payload.iov.enumerated() {
        pieces[index + 1] = iovec(iov_base: piece.iov_base, iov_len: piece.iov_len)
      }
      count += payload.iov.count
    }
    fields.encode(
      into: header, blockName: name, offsets: packet.offsets,
      pageSize: packet.pageSize)
    pieces[0] = iovec(iov_base: header.baseAddress, iov_len: header.count)
    // sendmsg(2) only reads. Header, pages and the backend's pieces stay as they are until it
    // returns.
    try socket.write(pieces: UnsafeMutableBufferPointer(rebasing: pieces[..<count]))
    let size = Int(fields.nextPacketSize)
    throttle?.pay(header.count + size)
    counters.packet(
      bytes: header.count + size, payload: size, format: method.index,
      normal: Int(fields.normalCount), duplicate: Int(fields.zeroCount),
      sync: fields.flags.contains(.sync))
    return Sent(payload: size, sending: ContinuousClock.now - start)
  }

  /// What became of a packet.
  struct Sent {
    /// Bytes of its payload.
    var payload: Int
    /// In the kernel, which waits for room.
    var sending: Duration
  }

  /// Sends a packet on as it came: its header with other method bits, and the payload untouched, by
  /// the kernel, from the channel that `reader` reads.
  ///
  /// - Throws: also for a name that is not terminated.
  public func pass(
    _ packet: borrowing Packet, as method: MultiFDMethod, from reader: PacketReader,
    through splice: Splice
  ) throws {
    // The packet's own memory, which nobody reads again.
    var size = MultiFDPacketHeader.size(pageSize: packet.pageSize)
    if packet.deviceState != nil {
      size = DeviceStatePacketHeader.size
    } else {
      _ = try Self.name(of: packet)
      packet.header.write(method: method, into: packet.bytes)
    }
    let payload = reader.payloadDue
    pieces[0] = iovec(iov_base: packet.bytes.baseAddress, iov_len: size)
    try socket.write(
      pieces: UnsafeMutableBufferPointer(rebasing: pieces[..<1]), more: payload > 0)
    try reader.splice(payload, to: socket, through: splice)
    throttle?.pay(size + payload)
    counters.packet(
      bytes: size + payload, payload: payload, format: method.index,
      normal: Int(packet.header.normalCount), duplicate: Int(packet.header.zeroCount),
      sync: packet.isSync)
  }

  /// The name of a packet's block, which a peer may have left without an end.
  private static func name(
    of packet: borrowing Packet
  ) throws(WireError) -> UnsafeRawBufferPointer {
    let name = packet.blockName
    guard name.count < 256 else {
      throw WireError(
        .badName, at: packet.offset + 64, "the name of a packet's block is not terminated")
    }
    return name
  }

  /// Sends a packet that only ends an epoch.
  public func sync(
    number: UInt64, in packet: inout Packet, with encoder: PacketEncoder
  ) throws {
    packet.begin(block: -1, named: "", host: nil)
    packet.header.flags = .sync
    packet.header.packetNumber = number
    try write(packet, with: encoder)
  }
}
