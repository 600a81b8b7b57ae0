import PluginLoader
import Wire

/// A channel's backend on the send side: what turns a packet's pages into a payload, and makes sure
/// that it will be pages again.
public final class PacketEncoder {
  /// For the headers of packets that it encodes.
  let method: MultiFDMethod
  /// What the backend is told of the method: the bits that QEMU has for it.
  let own: MultiFDMethod
  private let channel: SendChannel
  private let check: PayloadCheck?

  /// One for a channel.
  ///
  /// - Parameters:
  ///   - id: the channel's number, of `channels`.
  ///   - verify: every payload is decoded once before it goes out.
  public init(_ format: OutgoingFormat, id: Int, channels: Int, pageSize: Int, verify: Bool) throws
  {
    let (backend, options) = (format.backend, format.options)
    let capacity = MultiFDPacketHeader.capacity(pageSize: pageSize)
    own = MultiFDMethod(rawValue: backend.qemuMethod ?? 0)
    method = format.method
    channel = try backend.makeSender(
      id: id, channels: channels, pageSize: pageSize, pageCount: capacity, options: options,
      inputMayChange: false)
    check =
      verify
      ? try PayloadCheck(of: format, id: id, channels: channels, pageSize: pageSize) : nil
  }

  deinit { channel.close() }

  /// Encodes the normal pages of a packet that has some, while no other is in flight.
  ///
  /// - Returns: valid until the next call.
  func encode(_ packet: borrowing Packet) throws -> SendChannel.Payload {
    try submit(packet)
    return try complete(packet)
  }

  /// Begins to encode them. Packet and pages stay until it is completed, or the encoder is gone.
  func submit(_ packet: borrowing Packet) throws {
    try channel.submit(
      host: packet.host.map { UnsafeRawPointer($0) }, normal: packet.places, zero: packet.zero,
      reference: packet.reference, flags: own.rawValue,
      packetNumber: packet.header.packetNumber)
  }

  /// Waits for a packet: the one that was submitted first.
  ///
  /// - Returns: valid until the next call.
  func complete(_ packet: borrowing Packet) throws -> SendChannel.Payload {
    let payload = try channel.complete()
    try check?.check(payload.iov, payload.size, of: packet, own)
    return payload
  }

  /// It has as many packets as it takes.
  var isFull: Bool { channel.isFull }

  /// Ends the backend's channel, which lets go of what is in flight.
  func close() { channel.close() }
}
