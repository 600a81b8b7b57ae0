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
  private let encoder: PacketEncoder
  private let header: UnsafeMutableRawBufferPointer
  private let pieces: UnsafeMutableBufferPointer<iovec>
  /// What it has sent.
  public let counters = Counters()

  /// Packets of all channels of a source are numbered together.
  public final class Numbers: Sendable {
    private let last = Atomic<UInt64>(0)

    /// From 1 on.
    public init() {}

    /// The next one.
    public func next() -> UInt64 { last.wrappingAdd(1, ordering: .relaxed).newValue }
  }

  /// A writer of a channel from its first byte.
  public init(_ socket: Socket, _ encoder: PacketEncoder, pageSize: Int) {
    self.socket = socket
    self.encoder = encoder
    // Both belong to this object and its one thread. A backend returns at most 16 pieces more than
    // there are pages.
    header = .allocate(byteCount: MultiFDPacketHeader.size(pageSize: pageSize), alignment: 8)
    pieces = .allocate(capacity: MultiFDPacketHeader.capacity(pageSize: pageSize) + 17)
  }

  deinit {
    header.deallocate()
    pieces.deallocate()
  }

  /// Sends the init packet.
  public func begin(_ hello: MultiFDInit) throws {
    try socket.write(hello.encode())
    counters.moved(bytes: MultiFDInit.size)
  }

  /// Sends a packet: its pages, if it has some, and its SYNC.
  ///
  /// - Throws: also for a header of a peer's that cannot be sent on.
  public func write(_ packet: borrowing Packet) throws {
    var fields = packet.header
    let name = packet.blockName
    guard name.count < 256 else {
      throw WireError(
        .badName, at: packet.offset + 64, "the name of a packet's block is not terminated")
    }
    var count = 1
    // Stale in some packets of 7.2's.
    fields.nextPacketSize = 0
    // Also of packets that have zero pages only (SPECIFICATION section 4.6).
    if packet.hasPages { fields.flags.method = encoder.method }
    if fields.normalCount > 0 {
      let payload = try encoder.encode(packet)
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
    let payload = Int(fields.nextPacketSize)
    counters.packet(
      bytes: header.count + payload, payload: payload, normal: Int(fields.normalCount),
      duplicate: Int(fields.zeroCount), sync: fields.flags.contains(.sync))
  }

  /// Sends a packet that only ends an epoch.
  public func sync(number: UInt64, in packet: inout Packet) throws {
    packet.begin(block: -1, named: "", host: nil)
    packet.header.flags = .sync
    packet.header.packetNumber = number
    try write(packet)
  }
}
