import PluginAPI
import PluginLoader
import Wire

/// A channel's backend on the receive side: what turns a packet's payload into pages.
struct PacketDecoder {
  /// What the backend is told of the method: the bits that QEMU has for it, whatever a link calls
  /// it.
  private let method: MultiFDMethod
  private let channel: ReceiveChannel
  private let bound: Int
  /// Of a backend that decodes against what the pages are now.
  private let versions: VersionedPages?

  init(
    backend: Backend, options: OptionValues, id: Int, channels: Int, pageSize: Int,
    hasReference: Bool, source: any PayloadSource
  ) throws {
    let capacity = MultiFDPacketHeader.capacity(pageSize: pageSize)
    guard let bound = backend.payloadBound(pageSize: pageSize, pageCount: capacity) else {
      throw Failure(
        .refused, "backend \(backend.name)", "pages of \(pageSize) bytes are not supported")
    }
    method = MultiFDMethod(rawValue: backend.qemuMethod ?? 0)
    // No honest payload is bigger than what a stock QEMU could receive.
    self.bound = max(bound, Int(MULTIFD_QEMU_MAX_PAYLOAD))
    channel = try backend.makeReceiver(
      id: id, channels: channels, pageSize: pageSize, pageCount: capacity, options: options,
      source: source)
    versions =
      hasReference && backend.capabilities.contains(.reference)
      ? VersionedPages(pageSize: pageSize) : nil
  }

  /// Fills the normal pages of a packet from the channel.
  func receive(_ packet: borrowing Packet) throws {
    try submit(packet)
    try complete()
  }

  /// Begins to fill them: packet and pages stay until `complete()`, or `close()`.
  func submit(_ packet: borrowing Packet) throws {
    let size = packet.header.payloadSize
    guard size > 0, size <= bound else {
      throw WireError(
        .badLength, at: packet.offset + 20,
        "a payload of \(size) bytes for \(packet.normal.count) pages; 1 to \(bound) are possible")
    }
    var flags = packet.header.flags
    flags.method = method
    guard let versions else {
      return try channel.submit(
        host: packet.host, normal: packet.places, zero: packet.zero, payloadSize: size,
        flags: flags.rawValue, packetNumber: packet.header.packetNumber)
    }
    // There is room for both versions of one packet.
    versions.keep(packet)
    try channel.receive(
      host: versions.new, normal: versions.places(packet.normal.count), zero: packet.zero,
      reference: versions.old, payloadSize: size, flags: flags.rawValue,
      packetNumber: packet.header.packetNumber)
    versions.write(packet)
  }

  /// Waits for the packet that was submitted first.
  func complete() throws { if versions == nil { try channel.complete() } }

  /// It has as many packets as it takes.
  var isFull: Bool { channel.isFull || versions != nil }

  /// Ends the backend's channel, which lets go of its source.
  func close() { channel.close() }
}
