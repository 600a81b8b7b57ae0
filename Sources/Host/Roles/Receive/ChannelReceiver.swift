import COLO
import Glibc
import Memory
import Migration
import Observe
import PluginAPI
import PluginLoader
import Transport
import Wire

/// One multifd channel of a reception, in a thread of its own: packets come in, pages go through the
/// backend and the stage, SYNCs are reported.
final class ChannelReceiver: PayloadSource {
  private let socket: Socket
  private let session: ReceiveSession
  private let choice: BackendChoice
  private let pageSize: Int
  private var counters = Counters()
  private var inside = Inside()
  private var id = -1
  /// Byte offset in the channel, and number of the packet, for messages.
  private var offset: UInt64 = 0
  private var packet = 0
  private var decoder: PacketDecoder?
  /// The block of the last packet: its name field, and what it stands for.
  private var blockName: [UInt8] = []
  private var block = -1

  init(_ socket: Socket, _ session: ReceiveSession, _ choice: BackendChoice) {
    self.socket = socket
    self.session = session
    self.choice = choice
    pageSize = session.options.limits.pageSize
  }

  /// Runs until the source closes the channel or the migration is over.
  func run() {
    // The backend's channel and this object know each other.
    defer { decoder?.close() }
    do {
      try introduce()
      try receive()
    } catch {
      // Once all is over, or something else has failed, sockets are cut under us: no news.
      if !session.isOver { session.fail(session.failure(error, at: place)) }
    }
  }

  private var place: String {
    if id < 0 { return "multifd channel" }
    return packet == 0 ? "channel \(id)" : "channel \(id), packet \(packet), byte \(offset)"
  }

  private func introduce() throws {
    try withUnsafeTemporaryAllocation(byteCount: MultiFDInit.size, alignment: 8) { bytes in
      guard try socket.fill(bytes, idle: false) else {
        throw TransportError(.closed, "the source closed it before its first packet")
      }
      let hello = try MultiFDInit(decoding: UnsafeRawBufferPointer(bytes))
      id = Int(hello.id)
      let channel = try session.register(hello, socket)
      (counters, inside) = (channel.counters, channel.inside)
      counters.moved(bytes: MultiFDInit.size)
      offset = UInt64(MultiFDInit.size)
    }
  }

  private func receive() throws {
    let size = MultiFDPacketHeader.size(pageSize: pageSize)
    let capacity = MultiFDPacketHeader.capacity(pageSize: pageSize)
    // All live until this function returns; nothing below keeps a pointer into them.
    let header = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 8)
    let offsets = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: capacity)
    let slots = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: capacity)
    defer {
      header.deallocate()
      offsets.deallocate()
      slots.deallocate()
    }
    while try readHeader(header) {
      let fields = try MultiFDPacketHeader(
        decoding: UnsafeRawBufferPointer(header), pageSize: pageSize, at: offset)
      if fields.pageCount > 0 {
        try receivePages(fields, UnsafeRawBufferPointer(header), offsets, slots)
      }
      offset += UInt64(size + fields.payloadSize)
      counters.packet(
        bytes: size + fields.payloadSize, payload: fields.payloadSize,
        normal: Int(fields.normalCount), duplicate: Int(fields.zeroCount),
        sync: fields.flags.contains(.sync))
      if fields.flags.contains(.sync) { try session.channelSynced(id) }
    }
    session.channelEnded(id)
  }

  /// - Returns: false if the source closed the channel between two packets.
  private func readHeader(_ header: UnsafeMutableRawBufferPointer) throws -> Bool {
    packet += 1
    let prefix = UnsafeMutableRawBufferPointer(
      rebasing: header[..<MultiFDPacketHeader.prefixSize])
    guard try socket.fill(prefix, idle: true) else { return false }
    let flags = try MultiFDPacketHeader.flags(
      inPrefix: UnsafeRawBufferPointer(prefix), at: offset)
    guard !flags.contains(.deviceState) else {
      throw Failure(
        .refused, place, "device state over multifd (VFIO) is not supported",
        hint: "turn off x-migration-multifd-transfer at the source")
    }
    let rest = UnsafeMutableRawBufferPointer(rebasing: header[prefix.count...])
    guard try socket.fill(rest, idle: false) else {
      throw TransportError(.closed, "the source closed it inside a packet header")
    }
    return true
  }

  private func receivePages(
    _ fields: MultiFDPacketHeader, _ header: UnsafeRawBufferPointer,
    _ offsets: UnsafeMutableBufferPointer<UInt64>, _ slots: UnsafeMutableBufferPointer<UInt64>
  ) throws {
    let stage = try session.waitForStage()
    try session.beginPages(inside, at: place)
    let block = try findBlock(header, stage)
    try fields.decodeOffsets(
      from: header, into: offsets, blockLength: UInt64(stage.guest[block].length), at: offset)
    let pages = UnsafeBufferPointer(offsets)
    let normal = UnsafeBufferPointer(rebasing: pages[..<Int(fields.normalCount)])
    let zero = UnsafeBufferPointer(rebasing: pages[normal.count..<fields.pageCount])
    let target = try stage.prepare(block: block, normal: normal, zero: zero, slots: slots)
    if !normal.isEmpty {
      let decoder = try decoder(for: fields.flags.method)
      try decoder.receive(target, zero, fields, at: offset)
    }
    try stage.process(block: block, normal: normal, zero: zero)
  }

  private func decoder(for method: MultiFDMethod) throws -> PacketDecoder {
    if let decoder {
      guard decoder.method == method else {
        throw WireError(
          .mismatch, at: offset + 8,
          "compression method \(method) where earlier packets had \(decoder.method)")
      }
      return decoder
    }
    let (backend, options) = try choice.backend(for: method)
    let new = try PacketDecoder(
      backend: backend, options: options, method: method, id: id, channels: session.channelCount,
      pageSize: pageSize, source: self)
    decoder = new
    return new
  }

  private func findBlock(_ header: UnsafeRawBufferPointer, _ stage: COLOStage) throws -> Int {
    let name = MultiFDPacketHeader.blockName(in: header)
    if block >= 0, name.elementsEqual(blockName) { return block }
    let text = String(decoding: name, as: UTF8.self)
    guard let found = stage.guest.firstIndex(where: { $0.name == text }) else {
      throw WireError(.unknownBlock, at: offset + 64, "there is no RAM block '\(text)'")
    }
    (block, blockName) = (found, Array(name))
    return found
  }

  // MARK: PayloadSource

  func read(into buffer: UnsafeMutableRawBufferPointer) throws {
    guard try socket.fill(buffer, idle: false) || buffer.isEmpty else {
      throw TransportError(.closed, "the source closed it inside a packet")
    }
  }

  func readv(_ pieces: UnsafeBufferPointer<MultiFDIOVec>) throws {
    try withUnsafeTemporaryAllocation(of: iovec.self, capacity: pieces.count) { copies in
      // The socket uses its pieces up, and the backend's array is not ours to change.
      for (index, piece) in pieces.enumerated() {
        (copies.baseAddress! + index).initialize(
          to: iovec(iov_base: piece.iov_base, iov_len: piece.iov_len))
      }
      try socket.fill(pieces: UnsafeMutableBufferPointer(rebasing: copies[..<pieces.count]))
    }
  }
}
