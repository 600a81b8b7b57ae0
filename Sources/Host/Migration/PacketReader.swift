import PluginLoader
import Transport
import Wire

/// The one reader of multifd packets: of a connection or of a recording, for whoever takes their
/// pages.
///
///     while try reader.next(&packet, into: destination) { … }
///
/// It has the channel's bytes and its backend's state, and *is* what the backend reads its payload
/// from, so a page goes from the socket to where it belongs without another copy. It belongs to one
/// thread.
public final class PacketReader {
  let input: PacketInput
  /// Bytes of a recording that were taken.
  var taken = 0
  private let pageSize: Int
  private let backends: (any PacketBackends)?
  private let channels: () -> Int
  private let takesDeviceState: Bool
  private var wire: ChannelDecoder
  /// By method: of a QEMU's channel there is one.
  private var decoders: [MultiFDMethod: PacketDecoder] = [:]
  /// The number that the channel gave itself; -1 before.
  private var id = -1
  /// The block of the last packet with pages: its name, number and bytes.
  private var block: (name: [UInt8], index: Int, length: UInt64)?
  /// The packet that is being read: its number, the first is 1, and the byte of the channel at
  /// which it begins.
  private var current = (index: 0, offset: UInt64(0))

  /// A packet whose pages are on their way.
  private struct Flying {
    let box: PacketBox
    let decoder: PacketDecoder?
    let destination: any PageDestination
    let place: (index: Int, offset: UInt64)
    /// It is there: those before it were waited for.
    var isDone = false
  }
  /// The oldest first.
  private var flying: [Flying] = []

  /// A reader of a channel from its first byte.
  ///
  /// - Parameters:
  ///   - dialect: what the method bits mean.
  ///   - backends: those that decode; nil: only headers are read.
  ///   - maxPayload: what a packet may have before its backend is asked.
  ///   - takesDeviceState: packets of VFIO's are told, and not refused.
  ///   - channels: how many channels there are, as far as that is known, for the backend; asked
  ///     when the first page comes.
  public init(
    _ input: PacketInput, pageSize: Int, dialect: PacketDialect = .qemu,
    backends: (any PacketBackends)? = nil, maxPayload: Int = .max, takesDeviceState: Bool = false,
    channels: @escaping () -> Int = { 0 }
  ) {
    self.input = input
    self.pageSize = pageSize
    self.backends = backends
    self.channels = channels
    self.takesDeviceState = takesDeviceState
    wire = ChannelDecoder(pageSize: pageSize, maxPayload: maxPayload, dialect: dialect)
  }

  /// Lets go of the backends' channels, which know this reader, and of what is in flight: nobody
  /// writes to its pages any more.
  public func close() {
    for decoder in decoders.values { decoder.close() }
    flying = []
  }

  /// Where it is, for messages: `channel 1, packet 17, byte 9034`.
  public var place: String {
    if id < 0 { return "multifd channel" }
    if current.index == 0 { return "channel \(id)" }
    return "channel \(id), packet \(current.index), byte \(current.offset)"
  }

  /// Bytes of the channel that are done with.
  public var position: UInt64 { wire.position }

  /// Reads the init packet, which says whose channel it is.
  public func begin() throws -> MultiFDInit {
    try withUnsafeTemporaryAllocation(byteCount: MultiFDInit.size, alignment: 8) { bytes in
      guard
        case .start(let hello)? = try element(in: bytes, unless: "before its first packet")
      else { throw ended(inside: "before its first packet") }
      id = Int(hello.id)
      return hello
    }
  }

  /// Reads a packet's header. Its payload is to be taken before the next one.
  ///
  /// - Returns: false if the channel ends here, between two packets.
  public func next(_ packet: inout Packet) throws -> Bool {
    current = (current.index + 1, wire.position)
    packet.offset = current.offset
    packet.deviceState = nil
    packet.forgetBlock()
    switch try element(in: packet.bytes, unless: nil) {
    case .packet(let header, _): packet.header = header
    case .deviceState(let state):
      packet.deviceState = state
      (packet.header.flags, packet.header.normalCount, packet.header.zeroCount) = ([], 0, 0)
    case .start, nil: return false
    }
    return true
  }

  /// Opens the backend for a method, as the first packet that needs it would.
  ///
  /// - Throws: `WireError` if earlier packets had another method; else why there is no such
  ///   backend.
  public func open(_ method: MultiFDMethod) throws { _ = try decoder(for: method) }

  /// Nothing more will be taken.
  ///
  /// - Throws: when the channel may not end here.
  public func finish() throws(WireError) {
    try wire.finish(remaining: UnsafeRawBufferPointer(start: nil, count: 0))
  }

  /// Takes a packet's pages: zero ones are cleared, the others come through the backend.
  public func take(_ packet: inout Packet, into destination: some PageDestination) throws {
    try find(&packet, in: destination)
    try destination.prepare(&packet)
    if packet.header.normalCount > 0 {
      try decoder(for: packet.header.flags.method).receive(packet)
      wire.didTake(packet.header.payloadSize)
    }
    try destination.process(packet)
  }

  // MARK: Several packets in flight

  /// Takes a packet's pages, as `take`, but does not wait for a backend that goes on without its
  /// caller. The box is the reader's until `complete()` returns it, and there is room for it unless
  /// the reader `isFull`.
  public func submit(_ box: PacketBox, into destination: some PageDestination) throws {
    try find(&box.packet, in: destination)
    // Of two packets with one page the later one counts. Nobody sends such packets in one epoch.
    if flying.contains(where: { $0.box.packet.mayShareAPage(with: box.packet) }) {
      for index in flying.indices { try finish(index) }
    }
    try destination.prepare(&box.packet)
    var decoder: PacketDecoder?
    if box.packet.header.normalCount > 0 {
      decoder = try self.decoder(for: box.packet.header.flags.method)
      try decoder!.submit(box.packet)
      wire.didTake(box.packet.header.payloadSize)
    }
    flying.append(
      Flying(box: box, decoder: decoder, destination: destination, place: current))
  }

  /// Waits until the pages of the packet are there that was submitted first.
  public func complete() throws -> PacketBox {
    try finish(0)
    return flying.removeFirst().box
  }

  /// How many packets were submitted and not completed.
  public var inFlight: Int { flying.count }

  /// There is no room for another packet.
  public var isFull: Bool {
    guard let last = flying.last else { return false }
    return last.decoder?.isFull ?? true
  }

  /// Whether the next packet has begun to come, or the channel has ended.
  public var isReady: Bool {
    guard case .socket(let socket, _) = input else { return true }
    return socket.waitReadable(seconds: 0)
  }

  private func finish(_ index: Int) throws {
    guard !flying[index].isDone else { return }
    let here = current
    // What goes wrong goes wrong there.
    current = flying[index].place
    try flying[index].decoder?.complete()
    try flying[index].destination.process(flying[index].box.packet)
    flying[index].isDone = true
    current = here
  }

  /// Passes over a packet's payload, or a device's data.
  ///
  /// - Returns: whether all of it is there: a recording may break off.
  public func skip() throws -> Bool {
    var left = wire.rawBytesDue
    if case .recording(let bytes) = input {
      let count = min(left, bytes.count - taken)
      taken += count
      wire.didTake(count)
      return count == left
    }
    return try withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 16) { bytes in
      while left > 0 {
        let part = UnsafeMutableRawBufferPointer(rebasing: bytes[..<min(left, bytes.count)])
        let count = try fill(part, idle: false)
        wire.didTake(count)
        left -= count
        if count < part.count { return false }
      }
      return true
    }
  }

  /// Bytes of the packet's payload that have not been taken.
  var payloadDue: Int { wire.rawBytesDue }

  /// Hands the next bytes of a payload to another connection, unseen; this one is no recording.
  func splice(_ count: Int, to target: Socket, through splice: Splice) throws {
    guard case .socket(let socket, _) = input else { preconditionFailure("a recording has no end") }
    try splice.move(count, from: socket, to: target)
    wire.didTake(count)
  }

  /// Reads a packet with its pages.
  ///
  /// - Returns: false if the channel ends here, between two packets.
  public func next(_ packet: inout Packet, into destination: some PageDestination) throws -> Bool {
    guard try next(&packet) else { return false }
    if packet.hasPages { try take(&packet, into: destination) }
    if packet.deviceState != nil, try !skip() { throw ended(inside: "inside a packet") }
    return true
  }

  // MARK: Inside

  /// Reads as much as an element has.
  ///
  /// - Parameter unless: what cannot be between two packets; nil: the channel may end here.
  /// - Returns: nil at the end of the channel.
  private func element(
    in bytes: UnsafeMutableRawBufferPointer, unless: String?
  ) throws -> ChannelDecoder.Element? {
    var count = 0
    while true {
      let step = try wire.next(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
      switch step {
      case .element(let element, _): return element
      case .needMore(let missing):
        let part = UnsafeMutableRawBufferPointer(rebasing: bytes[count..<count + missing])
        let got = try fill(part, idle: count == 0 && unless == nil)
        count += got
        if got == missing {
          if count == MultiFDPacketHeader.prefixSize { try refuse(bytes) }
          continue
        }
        if count == 0, unless == nil { return nil }
        if case .recording = input {
          try wire.finish(remaining: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
        }
        throw ended(inside: unless ?? "inside a packet header")
      }
    }
  }

  /// Looks at the first bytes of a header: what nobody here can take is not waited for.
  private func refuse(_ prefix: UnsafeMutableRawBufferPointer) throws {
    let flags = try MultiFDPacketHeader.flags(
      inPrefix: UnsafeRawBufferPointer(prefix), dialect: wire.dialect, at: wire.position)
    guard flags.contains(.deviceState), !takesDeviceState else { return }
    throw Failure(
      .refused, place, "device state over multifd (VFIO) is not supported",
      hint: "turn off x-migration-multifd-transfer at the source")
  }

  private func find(_ packet: inout Packet, in destination: some PageDestination) throws {
    let name = packet.blockName
    if block == nil || !name.elementsEqual(block!.name) {
      guard let found = destination.block(named: name) else {
        throw WireError(
          .unknownBlock, at: packet.offset + 64,
          "there is no RAM block '\(String(decoding: name, as: UTF8.self))'")
      }
      block = (Array(name), found.index, found.length)
    }
    packet.block = block!.index
    try packet.decodeOffsets(blockLength: block!.length)
  }

  private func decoder(for method: MultiFDMethod) throws -> PacketDecoder {
    if let decoder = decoders[method] { return decoder }
    // A QEMU has one method for all of a migration; a link's may change from packet to packet.
    if wire.dialect == .qemu, let other = decoders.keys.first {
      throw WireError(
        .mismatch, at: current.offset + 8,
        "compression method \(method) where earlier packets had \(other)")
    }
    guard let backends else { preconditionFailure("a reader of headers was asked for pages") }
    let (backend, options) = try backends.backend(for: method)
    let new = try PacketDecoder(
      backend: backend, options: options, id: id, channels: max(channels(), id + 1),
      pageSize: pageSize, hasReference: backends.haveReference, source: self)
    decoders[method] = new
    return new
  }
}
