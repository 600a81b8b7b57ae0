import Glibc
import Memory
import Observe
import PluginAPI
import PluginLoader
import Synchronization
import Transport
import Wire

/// One multifd channel of a hand-over, in a thread of its own: takes stretches of RAM, sends what is
/// not zero.
final class ChannelSender {
  private let id: Int
  private let socket: Socket
  private let source: PageSource
  private let channel: SendChannel
  private let check: PayloadCheck?
  private let flags: MultiFDFlags
  private let pageSize: Int
  private let capacity: Int
  private let packetNumber: PacketNumber
  let counters = Counters()

  private let header: UnsafeMutableRawBufferPointer
  private let pages: UnsafeMutableBufferPointer<UInt64>
  private let pieces: UnsafeMutableBufferPointer<iovec>
  private var count = 0
  private var block = -1

  /// Packets of all channels are numbered together.
  final class PacketNumber: Sendable {
    private let last = Atomic<UInt64>(0)
    func next() -> UInt64 { last.wrappingAdd(1, ordering: .relaxed).newValue }
  }

  init(
    id: Int, channels: Int, socket: Socket, source: PageSource, backend: Backend,
    options: OptionValues, pageSize: Int, verify: Bool, packetNumber: PacketNumber
  ) throws {
    self.id = id
    self.socket = socket
    self.source = source
    self.pageSize = pageSize
    self.packetNumber = packetNumber
    capacity = MultiFDPacketHeader.capacity(pageSize: pageSize)
    flags = MultiFDFlags(rawValue: backend.qemuMethod ?? 0)
    channel = try backend.makeSender(
      id: id, channels: channels, pageSize: pageSize, pageCount: capacity, options: options,
      inputMayChange: false)
    // nocomp's payload is the pages themselves: there is nothing that could fail to decode.
    check =
      verify && !backend.capabilities.contains(.zeroCopy)
      ? try PayloadCheck(
        backend: backend, options: options, id: id, channels: channels, pageSize: pageSize,
        pageCount: capacity) : nil
    // All three belong to this object and its one thread.
    header = .allocate(byteCount: MultiFDPacketHeader.size(pageSize: pageSize), alignment: 8)
    pages = .allocate(capacity: capacity)
    pieces = .allocate(capacity: capacity + 32)
  }

  deinit {
    channel.close()
    header.deallocate()
    pages.deallocate()
    pieces.deallocate()
  }

  /// Sends the init packet.
  func begin(_ uuid: VMUUID) throws {
    try socket.write(MultiFDInit(uuid: uuid, id: UInt8(id)).encode())
    counters.moved(bytes: MultiFDInit.size)
  }

  /// Sends a SYNC for each sync point before the pages, pages until there are none left, then a SYNC for each sync
  /// point that is to come.
  func run(syncs: (before: Int, after: Int)) throws {
    defer { source.workerDone() }
    for _ in 0..<syncs.before { try sync() }
    while let piece = source.piece() {
      if piece.block != block { try flush() }
      block = piece.block
      let zero = try source.scan(piece) { (offset) throws -> Void in
        pages[count] = UInt64(offset)
        count += 1
        if count == capacity { try flush() }
      }
      source.foundZero(zero)
      counters.zeroPages(zero.reduce(0) { $0 + $1.range.count / pageSize })
    }
    try flush()
    for _ in 0..<syncs.after { try sync() }
  }

  private func flush() throws {
    guard count > 0 else { return }
    defer { count = 0 }
    let block = source.blocks[block]
    let number = packetNumber.next()
    let normal = UnsafeBufferPointer(rebasing: pages[..<count])
    let payload = try channel.prepare(
      host: block.base, normal: normal, zero: UnsafeBufferPointer(start: nil, count: 0),
      flags: flags.rawValue, packetNumber: number)
    try check?.check(
      payload, host: block.base, normal: normal, flags: flags.rawValue, packet: number)
    let fields = MultiFDPacketHeader(
      flags: flags, pagesAllocated: UInt32(capacity), normalCount: UInt32(count),
      nextPacketSize: UInt32(payload.size), packetNumber: number, zeroCount: 0, pageSize: pageSize)
    fields.encode(into: header, blockName: block.name, offsets: normal, pageSize: pageSize)
    pieces[0] = iovec(iov_base: header.baseAddress, iov_len: header.count)
    for (index, piece) in payload.iov.enumerated() {
      pieces[index + 1] = iovec(iov_base: piece.iov_base, iov_len: piece.iov_len)
    }
    try socket.write(
      pieces: UnsafeMutableBufferPointer(rebasing: pieces[...payload.iov.count]))
    counters.packet(
      bytes: header.count + payload.size, payload: payload.size, normal: count, duplicate: 0,
      sync: false)
  }

  private func sync() throws {
    let fields = MultiFDPacketHeader(
      flags: .sync, pagesAllocated: 0, normalCount: 0, nextPacketSize: 0,
      packetNumber: packetNumber.next(), zeroCount: 0, pageSize: pageSize)
    fields.encode(
      into: header, blockName: "", offsets: UnsafeBufferPointer(start: nil, count: 0),
      pageSize: pageSize)
    try socket.write(UnsafeRawBufferPointer(header))
    counters.packet(bytes: header.count, payload: 0, normal: 0, duplicate: 0, sync: true)
  }
}
